"""How annotations are checked in tests: as static checkers do, an int counts as a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
