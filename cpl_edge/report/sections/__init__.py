"""The sections of the report, one file each: results in, blocks of a document out."""
