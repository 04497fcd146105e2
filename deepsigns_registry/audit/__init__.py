"""Checks that what is deployed still carries the owner's mark, and says so in a signed report.

The way of one audit: `targets` fetches the deployed ONNX file, `verify` looks for the owner's
marks in it, `plan` and `attack_job` make attacked copies that are verified again, `results`
holds the table, `expectations` judges it, `curves` and `report` show it, `tracking` logs it to
MLflow, `store` signs and keeps it, and `schedule` says when the next one is due. `run` calls
them in this order.
"""
