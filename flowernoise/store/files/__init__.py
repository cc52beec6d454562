"""Files that are written whole or not at all, and checked before they are opened.

There are two forms. A *record* is a small JSON file in an envelope with its kind, schema version and the SHA-256 of its
body. A *blob* (arrays in HDF5, photos in TAR, an index in CSV) carries the start of its SHA-256 in its name, is never
overwritten, and counts only once a record points to it. So a crash leaves either the old state or the new one.

The directory may come from an attacker. So only regular files are opened, never through a link, and a file is read into
memory only after its size and digest have been checked. All writing in an artifacts directory is done here.
"""

from flowernoise.store.files.arrays import Declared as Declared
from flowernoise.store.files.arrays import arrays_of as arrays_of
from flowernoise.store.files.arrays import read_arrays as read_arrays
from flowernoise.store.files.arrays import write_arrays as write_arrays
from flowernoise.store.files.blobs import NOT_WRITTEN as NOT_WRITTEN
from flowernoise.store.files.blobs import FileRef as FileRef
from flowernoise.store.files.blobs import blob_name as blob_name
from flowernoise.store.files.blobs import check_blob as check_blob
from flowernoise.store.files.blobs import checked_path as checked_path
from flowernoise.store.files.blobs import find_blob as find_blob
from flowernoise.store.files.blobs import open_blob as open_blob
from flowernoise.store.files.blobs import read_blob as read_blob
from flowernoise.store.files.blobs import together as together
from flowernoise.store.files.blobs import write_blob as write_blob
from flowernoise.store.files.plain import QUARANTINED as QUARANTINED
from flowernoise.store.files.plain import digest as digest
from flowernoise.store.files.plain import digest_of as digest_of
from flowernoise.store.files.plain import quarantine as quarantine
from flowernoise.store.files.plain import read_plain as read_plain
from flowernoise.store.files.plain import remove as remove
from flowernoise.store.files.plain import write_plain as write_plain
from flowernoise.store.files.records import MAX_RECORD as MAX_RECORD
from flowernoise.store.files.records import SCHEMA as SCHEMA
from flowernoise.store.files.records import Record as Record
from flowernoise.store.files.records import digest_of_record as digest_of_record
from flowernoise.store.files.records import read_fields as read_fields
from flowernoise.store.files.records import read_record as read_record
from flowernoise.store.files.records import write_record as write_record
