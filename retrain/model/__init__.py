"""What ships: the model folder, the arrays that a network takes, and the network's answers.

retrain writes such folders. promote and serving verify them, load them and ask them. Nothing here
is a pickle: a model is `model.json` and ONNX files.
"""
