"""What people look at: the report page, comparisons, the leaderboard, grids, charts, TensorBoard.

Imports `gan.judging`, `gan.runs`, `gan.training` and the packages below them. Start with `page.py`.
"""
