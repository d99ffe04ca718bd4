"""Files: FITS read once, written whole or not at all, ECSV, and the words of GADF."""
