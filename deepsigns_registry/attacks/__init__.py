"""What a thief does to a model: one attack a file, each on any tapped model.

>>> from deepsigns_registry.attacks import parse_attack
>>> planned = parse_attack("prune:0.5")
>>> planned.attack.name, planned.strength, planned.label
('prune', 0.5, 'prune:0.5')
"""

from deepsigns_registry.attacks.attack import Attack, PlannedAttack
from deepsigns_registry.attacks.catalogue import builtin_attacks, known_attacks, parse_attack

__all__ = ["Attack", "PlannedAttack", "builtin_attacks", "known_attacks", "parse_attack"]
