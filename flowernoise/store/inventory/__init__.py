"""What an artifacts directory holds: every file, every record, and what is stale, damaged or litter.

:class:`Inventory` only reads; :func:`clean` removes the temporary files of exited processes.
"""

from flowernoise.store.inventory.kinds import Fault as Fault
from flowernoise.store.inventory.kinds import RecordEntry as RecordEntry
from flowernoise.store.inventory.litter import Litter as Litter
from flowernoise.store.inventory.litter import abandoned as abandoned
from flowernoise.store.inventory.litter import clean as clean
from flowernoise.store.inventory.look import Inventory as Inventory
