"""Who is at the other end of a connection, and what a session may not do."""

import asyncio
import datetime as dt
import logging
import os
import pwd
import re
import ssl
import tempfile
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers.postgres import PostgresServer, installed
from tests.servers.present import need, newest_postgres
from zart import PostgresScheduler, StorageUnavailable
from zart.schedulers.address import Address
from zart.schedulers.postgres import verified as trust
from zart.schedulers.postgres.verified import verified

_numbers = count(1)
FULL = "sslmode=verify-full"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch, tmp_path):
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGHOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example/app",
        "postgresql://ann:s3cret@db.example:5432/app",
        "postgresql://10.0.0.7/app",
        "postgresql://[2001:db8::1]:5432/app",
        "postgresql://localhost,db.example/app",
        "postgresql:///app?host=db.example",
        "postgresql://localhost.example/app",
        "postgresql://127.0.0.1.example/app",
    ],
)
def test_a_server_elsewhere_must_show_who_it_is(url):
    made = verified(url, {})
    assert made.startswith(url)
    assert FULL in made.partition("?")[2].split("&")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/app",
        "postgresql://127.0.0.1:5432/app",
        "postgresql://[::1]/app",
        "postgresql:///app",
        "postgresql:///app?host=%2Frun%2Fpostgresql",
        "postgresql://db.example/app?sslmode=disable",
        "postgresql://db.example/app?sslmode=verify-ca",
        "postgresql:///app?service=orders",
    ],
)
def test_one_on_this_machine_need_not_and_what_is_said_counts(url):
    assert verified(url, {}) == url


def test_the_environment_of_libpq_is_heard():
    assert FULL in verified("postgresql:///app", {"PGHOST": "db.example"})
    assert verified("postgresql://db.example/app", {"PGSSLMODE": "disable"}) == "postgresql://db.example/app"
    assert "sslrootcert" not in verified("postgresql://db.example/app", {"PGSSLROOTCERT": "mine.pem"})
    assert verified("postgresql://db.example/app?sslrootcert=mine.pem", {}).endswith(f"?sslrootcert=mine.pem&{FULL}")


def test_the_authorities_of_the_system_are_taken_where_none_are_named(monkeypatch, tmp_path):
    bundle = tmp_path / "ca bundle.pem"
    bundle.write_text("")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: ssl.DefaultVerifyPaths(str(bundle), None, "", "", "", ""))
    assert verified("postgresql://db.example/app", {}).endswith("%2Fca%20bundle.pem")
    own = tmp_path / ".postgresql" / "root.crt"
    own.parent.mkdir()
    own.write_text("")
    assert "sslrootcert" not in verified("postgresql://db.example/app", {})


@pytest.mark.parametrize("mode", ["allow", "prefer", "require"])
def test_a_mode_that_only_looks_safe_is_told(mode, caplog):
    caplog.set_level(logging.WARNING, "zart.schedulers")
    verified(f"postgresql://db.example/app?sslmode={mode}", {})
    assert f"sslmode={mode} does not check who the PostgreSQL server is" in caplog.text


def test_every_way_to_a_scheduler_goes_through_it():
    address = Address.of("postgresql://db.example/app?schema=jobs")
    assert FULL in PostgresScheduler(address.dsn)._server.dsn


# ---- a real server with a certificate of its own ------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, secret = folder / "server.crt", folder / "server.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    secret.chmod(0o600)
    return cert, secret


@pytest.fixture(scope="module")
def encrypting():
    """Yield a server that encrypts, and its certificate. That of the wheel is built without."""
    need("PostgreSQL 15")
    folder = Path(tempfile.mkdtemp(prefix="zart-tls-"))  # not pytest's own, which only its user may enter
    try:
        cert, secret = certificate(folder)
        if os.geteuid() == 0:  # then the server runs as nobody
            nobody = pwd.getpwnam("nobody")
            for path in (folder, cert, secret):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        options = {"ssl": "on", "ssl_cert_file": str(cert), "ssl_key_file": str(secret)}
        with PostgresServer(installed()["15"], options=options) as server:
            yield server, cert
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


async def test_a_server_that_signed_for_itself_is_refused_and_so_is_one_by_another_name(encrypting, monkeypatch):
    server, cert = encrypting
    monkeypatch.setattr(trust, "_is_elsewhere", lambda host: True)
    by_name = server.dsn.replace("127.0.0.1", "localhost")
    for url, said in (
        (by_name, "self.signed certificate; name its authority with sslrootcert"),
        (f"{server.dsn}?sslrootcert={cert}", "IP address mismatch.*correct the host"),
    ):
        scheduler = PostgresScheduler(url)
        with pytest.raises(StorageUnavailable, match=said):
            await scheduler.__aenter__()
    async with PostgresScheduler(f"{by_name}?sslrootcert={cert}", schema="tls") as scheduler:
        await scheduler.migrate()
        used = await scheduler._connections.run(
            lambda talk: talk.connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        )
        assert used is True


async def test_a_server_that_does_not_encrypt_is_refused(postgres_server, monkeypatch):
    monkeypatch.setattr(trust, "_is_elsewhere", lambda host: True)
    with pytest.raises(StorageUnavailable, match="does not encrypt; give it a certificate, or say sslmode=disable"):
        await PostgresScheduler(postgres_server.dsn).__aenter__()


# ---- sessions ----------------------------------------------------------------------------------------------------------

GUARDS = {"statement_timeout": "3s", "lock_timeout": "1500ms", "idle_in_transaction_session_timeout": "3s"}


@pytest.fixture
def place(postgres_server):
    return PostgresScheduler(postgres_server.dsn, schema=f"sessions_{next(_numbers)}", timeout="3s")


async def test_every_connection_has_its_guard_rails_and_says_whose_it_is(postgres_server, place):
    async def settings(connection):
        names = (*GUARDS, "synchronous_commit", "application_name")
        return {name: await connection.fetchval(f"SHOW {name}") for name in names}

    async with place as scheduler:
        await scheduler.migrate()
        for pool in (scheduler._connections, scheduler._readers):
            found = await pool.run(lambda talk: settings(talk.connection))
            assert found == {**GUARDS, "synchronous_commit": "on", "application_name": "zart"}
        other = await scheduler._server.connect(name="zart listen x")
        listening = await settings(other)
        await other.close()
        assert {name: listening[name] for name in GUARDS} == GUARDS
        async with scheduler.transaction(dt.timedelta(seconds=2)) as (connection, _):
            raw = (await connection.get_raw_connection()).driver_connection
            found = await settings(raw)
            assert found["idle_in_transaction_session_timeout"] == "2s"
            assert (found["synchronous_commit"], found["application_name"]) == ("on", "zart transaction")


async def test_behind_a_pooler_every_transaction_has_them(postgres_server):
    scheduler = PostgresScheduler(postgres_server.dsn, schema=f"sessions_{next(_numbers)}", timeout="3s", pooler=True)
    async with scheduler:
        await scheduler.migrate()
        for name, value in {**GUARDS, "synchronous_commit": "on"}.items():
            assert await scheduler._connections.run(lambda talk, name=name: talk.connection.fetchval(f"SHOW {name}")) == value


# ---- credentials --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked():
    """Yield a server that asks for a password."""
    with PostgresServer(newest_postgres()) as server:
        server.run("CREATE ROLE app LOGIN PASSWORD 'first'")
        hba = Path(server._folder) / "data" / "pg_hba.conf"
        hba.write_text("host all zart 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256\n")
        server.run("SELECT pg_reload_conf()", "GRANT CREATE ON DATABASE postgres TO app")
        yield server


async def test_a_password_may_stand_in_a_file_and_be_rotated_there(locked, tmp_path):
    file = tmp_path / "passwords"
    file.write_text(f"127.0.0.1:{locked.port}:*:app:first\n")
    file.chmod(0o600)
    url = locked.dsn.replace("zart@", "app@") + f"?passfile={file}"
    async with PostgresScheduler(url, schema="files", timeout="3s") as scheduler:
        await scheduler.migrate()
        await asyncio.to_thread(locked.run, "ALTER ROLE app PASSWORD 'second'")
        file.write_text(f"127.0.0.1:{locked.port}:*:app:second\n")
        await asyncio.to_thread(locked.run, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        assert await scheduler.get("nobody") is None  # over a connection that was opened with the new one
        file.write_text(f"127.0.0.1:{locked.port}:*:app:third\n")
        await asyncio.to_thread(locked.run, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        with pytest.raises(StorageUnavailable, match="look at the user and the password") as told:
            await scheduler.get("nobody")
        assert not re.search("first|second|third", str(told.value))
