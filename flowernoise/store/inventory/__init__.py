"""What an artifacts directory holds: every file, every record, and what is stale, wrong or litter.

:class:`Inventory` looks and changes nothing; :func:`clean` removes the temporary files that dead processes have left.
"""

from flowernoise.store.inventory.kinds import Fault, RecordEntry
from flowernoise.store.inventory.litter import Litter, abandoned, clean
from flowernoise.store.inventory.look import Inventory

__all__ = ["Fault", "Inventory", "Litter", "RecordEntry", "abandoned", "clean"]
