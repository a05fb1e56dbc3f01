"""The subject itself: data, networks, training, judging. Knows nothing of the orchestrator.

TensorFlow and Keras read these two variables once, when they are imported, so they are set here, before any module of
this package can import them: this code is written for Keras on TensorFlow, and TensorFlow's C++ start-up notes are not
for our readers.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
