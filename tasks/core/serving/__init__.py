"""The model in use: an HTTP server that answers requests with a published model.

It may import tasks.core.reports and everything below it, and no TensorFlow: the model is loaded by
`model.inference.online_predictor`. Start reading at `app`, which has the addresses; `service` answers a
request, `bodies` reads it, `batching` runs the model, and `champion` follows the registry.
"""
