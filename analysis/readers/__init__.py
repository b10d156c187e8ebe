"""Files that trackers, trainers and people write -> tables of plain values.

A reader is a module with one :class:`~analysis.readers.source.Reader`: what it reads is recognised by
content. To add one, write the module and put its reader into :data:`analysis.readers.read.READERS`, before
any that would take the same content.
"""
