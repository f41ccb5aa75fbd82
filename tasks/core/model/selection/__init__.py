"""The select stage: which recipe suits the images, decided by images that the candidates have not seen.

Start at `select.py`; `candidates.py` says which recipes are compared. `cross_validate.py` scores recipes over
all images, and `final_model.py` trains one on all of them. Modules here may import
`tasks.core.model.training` and what lies below it. They can be imported without TensorFlow.
"""
