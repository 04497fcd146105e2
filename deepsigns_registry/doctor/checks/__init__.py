"""One check a file; `examination.CHECKS` names them in order."""
