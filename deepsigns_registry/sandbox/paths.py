"""What a Python program with its libraries reads of the machine, and of an accelerator."""

import site
import sys
import sysconfig
from pathlib import Path

__all__ = ["accelerator_devices", "accelerator_files", "libraries", "plain_devices"]

_PACKAGE = Path(__file__).parents[1]
_SYSTEM = (
    *("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/local/lib64"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"),
    *("/usr/share/zoneinfo", "/sys/devices/system/cpu", "/sys/devices/system/node"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_ACCELERATOR = (
    *("/usr/local/cuda", "/etc/nvidia", "/usr/share/nvidia", "/sys/bus/pci", "/sys/devices"),
    *("/sys/module/nvidia", "/sys/class/drm", "/proc/driver/nvidia"),
)


def libraries() -> list[Path]:
    """Files and folders with the interpreter, its libraries, this package and the system's.

    Not what else is found on the path of modules: beside a package in development stand other
    files, and the working directory is anybody's.

    Examples:
        >>> Path(sys.executable).absolute() in libraries()
        True
    """
    kinds = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    known = [sysconfig.get_path(kind) for kind in kinds]
    known += [sysconfig.get_config_var("LIBDIR") or "", sys.executable, *site.getsitepackages()]
    real = Path(sys.executable).resolve()
    ours = [Path(path) for path in known if path] + [_PACKAGE, real, real.parents[1] / "lib"]
    configured = Path(sys.prefix) / "pyvenv.cfg"
    return [path.absolute() for path in (*ours, configured, *map(Path, _SYSTEM)) if path.exists()]


def plain_devices() -> list[Path]:
    """Nothing, zeros and random numbers.

    Examples:
        >>> Path("/dev/null") in plain_devices()
        True
    """
    return [path for path in map(Path, _DEVICES) if path.exists()]


def accelerator_files() -> list[Path]:
    """What the driver of an accelerator reads besides."""
    return [path for path in map(Path, _ACCELERATOR) if path.exists()]


def accelerator_devices() -> list[Path]:
    """The devices of NVIDIA's driver, as far as they are there."""
    return sorted(path for path in Path("/dev").glob("nvidia*") if not path.is_dir())
