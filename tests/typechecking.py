"""The run-time check of annotations that the tests put on every function of the packages."""

import beartype

#: An int is welcome where a float is asked for, as PEP 484 has it.
check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
