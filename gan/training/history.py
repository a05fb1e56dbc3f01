"""The values that training records at every step."""

HISTORY_COLUMNS = ("d_loss", "d_accuracy", "g_loss")
