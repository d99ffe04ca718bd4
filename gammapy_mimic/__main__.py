"""``python -m gammapy_mimic`` is the command ``gammapy-mimic``."""

from gammapy_mimic.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="gammapy-mimic")
