"""What a MySQL URL says to Zart, and what to the driver."""

import ssl
import subprocess
import sys

import pytest

from zart.errors import NotSupported
from zart.schedulers import connect
from zart.schedulers.mysql import MySqlScheduler
from zart.schedulers.mysql.address import Address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mysql://h/d", Address("h", 3306, "", "", "d")),
        ("mariadb+asyncmy://ann:p%40%2F@[::1]:3307/my%20app?", Address("::1", 3307, "ann", "p@/", "my app")),
        ("MYSQL:///d?unix_socket=%2Frun%2Fs", Address("localhost", 3306, "", "", "d", {"unix_socket": "/run/s"})),
        (
            "mysql://h/d?prefix=z_&pool_size=4&timeout=500ms&ssl_mode=required",
            Address("h", 3306, "", "", "d", {"ssl_mode": "required"}, {"prefix": "z_", "pool_size": 4, "timeout": "500ms"}),
        ),
        ("mysql://u:a@b@h/d", Address("h", 3306, "u", "a@b", "d")),
    ],
)
def test_a_url_is_parted(url, address):
    assert Address.of(url) == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://h/d?prefx=app", "'prefx'; did you mean 'prefix'"),
        ("mysql://h/d?charset=latin1", "'charset'; leave it out"),
        ("mysql://h/d?prefix=a&prefix=b", "gives 'prefix' twice"),
        ("mysql://h/d?ssl_ca=", "gives 'ssl_ca' no value"),
        ("mysql://h/d?ssl_mode=sure", "ssl_mode in the URL must be one of disabled, required, verify_ca, verify_identity"),
        ("mysql://h/d?pool_size=-1", "pool_size in the URL must be a whole number"),
        ("mysql://h/d?pool_size=0", "pool_size must be 1 or more"),
        ("mysql://h/d?timeout=soon", "timeout: 'soon' is no duration"),
        ("mysql://h/d?prefix=My", "prefix must have 1 to 48"),
        ("mysql://h", "names no database"),
        ("mysql://h/", "names no database"),
    ],
)
def test_what_says_nothing_is_an_error_that_says_why(url, message):
    with pytest.raises(ValueError, match=message):
        connect(url)


@pytest.mark.parametrize(
    "url",
    ["mysql://h:x/d", "mysql://h:99999/d", "mysql://ann:s3/cret@h/d", "mysql://ann:12?s3cret@h/d", "mysql://ann:1#s3@h/d"],
)
def test_host_and_port_that_cannot_be_read_are_told_without_showing_them(url):
    with pytest.raises(ValueError, match="host and port cannot be read") as caught:
        connect(url)
    assert "s3" not in str(caught.value)


def test_only_mysql_urls_are_taken():
    for url in ("postgresql://x/y", "localhost/x", "mysql"):
        with pytest.raises(ValueError, match="names no MySQL or MariaDB database"):
            MySqlScheduler(url)
    with pytest.raises(ValueError, match="give prefix as an argument of MySqlScheduler, or the URL to"):
        MySqlScheduler("mysql://h/d?prefix=z_")
    assert "s3cret" not in repr(Address.of("mysql://u:s3cret@h/d"))


@pytest.mark.parametrize(
    ("url", "mode", "name"),
    [
        ("mysql://db.example/d", ssl.CERT_REQUIRED, True),
        ("mysql://192.0.2.1/d", ssl.CERT_REQUIRED, True),
        ("mysql://db.example/d?ssl_mode=verify_ca", ssl.CERT_REQUIRED, False),
        ("mysql://db.example/d?ssl_mode=required", ssl.CERT_NONE, False),
        ("mysql://localhost/d?ssl_mode=verify_identity", ssl.CERT_REQUIRED, True),
    ],
)
def test_a_server_elsewhere_must_say_who_it_is_unless_the_url_says_otherwise(url, mode, name):
    context = Address.of(url).arguments()["ssl"]
    assert (context.verify_mode, context.check_hostname) == (mode, name)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://localhost/d",
        "mysql://127.0.0.1/d",
        "mysql://[::1]/d",
        "mysql://h/d?unix_socket=/s",
        "mysql://h/d?ssl_mode=disabled",
    ],
)
def test_on_this_machine_nothing_is_encrypted_unless_asked(url):
    assert Address.of(url).arguments()["ssl"] is None


def test_without_its_driver_it_is_told_what_to_install(monkeypatch):
    for name in [each for each in sys.modules if each.startswith("zart.schedulers.mysql")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    with pytest.raises(NotSupported, match=r"asyncmy is not installed; install zart-durable\[mysql\]"):
        connect("mysql://h/d")


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None if sys.argv[1] == "asyncmy" else sys
from zart import *
try:
    MySqlScheduler("mysql://h/d", pool_size=4)
except NotSupported as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("asyncmy", "asyncmy is not installed"),
        ("asyncmy.connection", "its driver is broken: cannot import name 'Connection' from 'sys' (unknown location)"),
    ],
)
def test_without_its_driver_all_else_can_be_imported_and_making_a_scheduler_tells(broken, told):
    done = subprocess.run([sys.executable, "-c", WITHOUT, broken], capture_output=True, text=True, timeout=40, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{told}; install zart-durable[mysql]\n"
