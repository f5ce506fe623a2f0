"""File formats, read exactly or refused: PNG, TIFF, NumPy, NIfTI, DICOM, zip and pickle."""
