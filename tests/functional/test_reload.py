"""
Reloads of a real server, of one process: addresses that move, files that change, sessions that stay.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
from contextlib import closing

import trustme

from tests.functional.peers import Running, accepts, free_port
from tests.functional.test_lifecycle import TWISTGINX, Client, LifecycleTestCase, get, site


class ReloadTestCase(LifecycleTestCase):
    """
    What reloads.
    """

    def reload(self, running: Running, config: str) -> None:
        """
        Reload with this, which is right.
        """
        before = running.output().count("reloaded: ")
        self.rewrite(config)
        os.kill(running.pid, signal.SIGHUP)
        running.wait_for(lambda: running.output().count("reloaded: ") > before, "the reload")


class AddressTests(ReloadTestCase):
    """
    A listener can go to an address that overlaps that of one that goes.
    """

    def test_overlap(self) -> None:
        """
        From all interfaces to one, and back, and to the same address in other words; a request that was being made is
        answered, and nobody else can have the address meanwhile.
        """
        port = free_port()
        one = site(port)
        every = one.replace(":interface=127.0.0.1", "")
        running = self.serve(one, port)
        client = Client(port)
        self.addCleanup(client.socket.close)
        client.socket.sendall(b"GET / HTTP/1.1\r\nHost: ")
        for number, config in enumerate((every, one, every, every.replace(f":{port}", f":{port}:interface=0.0.0.0"))):
            self.reload(running, config.replace('"one"', f'"{number}"'))
            self.assertEqual(get(port), str(number).encode())
            with socket.socket() as other:
                self.assertRaises(OSError, other.bind, ("127.0.0.1", port))
        client.socket.sendall(b"localhost\r\n\r\n")
        self.assertIn(client.answer(), (b"one", b"0"))
        self.assertNotIn("Traceback", running.output())

    def test_queue(self) -> None:
        """
        Who has connected, and was not accepted yet, is not lost when the listener is closed.
        """
        port, other = free_port(), free_port()
        running = self.serve(site(port), port)
        os.kill(running.pid, signal.SIGSTOP)
        clients = [Client(port) for _ in range(20)]
        for client in clients:
            self.addCleanup(client.socket.close)
            client.ask()
        self.rewrite(site(other))
        os.kill(running.pid, signal.SIGHUP)
        os.kill(running.pid, signal.SIGCONT)
        running.wait_for(lambda: accepts(other) and not accepts(port), "the reload")
        self.assertEqual({client.answer() for client in clients}, {b"one"})

    def test_unix(self) -> None:
        """
        A UNIX socket that is given another mode keeps its path; in the end, the path is free.
        """
        path = self.directory / "web.sock"
        first, second = (site(1).replace("tcp:1:interface=127.0.0.1", f"unix:{path}:mode={m}") for m in (600, 660))
        running = self.serve(first)
        running.wait_for(path.exists, "the socket")
        running.wait_for(lambda: "serving on" in running.output(), "the start")
        inode = path.stat().st_ino
        self.reload(running, second)
        self.assertEqual(path.stat().st_ino, inode)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            self.assertTrue(client.makefile("rb").read().endswith(b"one"))
        running.stop()
        self.assertFalse(path.exists())
        self.assertFalse(path.with_name("web.sock.lock").is_symlink())


class ChangeTests(ReloadTestCase):
    """
    Files that change by themselves, and sessions that do not.
    """

    def test_on_change(self) -> None:
        """
        The server reloads when a certificate or the file changes, if it is asked to; what is wrong changes nothing, and
        is said once.  A TLS session outlives reloads that leave the certificate alone.
        """
        port = free_port()
        authority = trustme.CA()
        context = ssl.create_default_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # the session is there when the handshake ends
        authority.configure_trust(context)

        def issue() -> int:
            certificate = authority.issue_cert("localhost")
            certificate.private_key_pem.write_to_path(self.directory / "key.pem")
            certificate.cert_chain_pems[0].write_to_path(self.directory / "cert.pem")
            return certificate

        def connect(session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
            plain = socket.create_connection(("127.0.0.1", port))
            secure = context.wrap_socket(plain, server_hostname="localhost", session=session)
            self.addCleanup(secure.close)
            return secure

        issue()
        config = (
            site(port)
            .replace("listen =", "listen_tls =")
            .replace(
                "    [[site.route]]",
                'tls = { certificates = [{ cert = "cert.pem", key = "key.pem" }] }\n\n    [[site.route]]',
            )
        )
        config = config.replace("[process]\n", '[process]\nreload_on_change = true\ncontrol = "control.sock"\n')
        running = self.serve(config, port)
        first = connect()
        before, session = first.getpeercert(True), first.session
        self.assertFalse(first.session_reused)
        self.rewrite(config.replace('"one"', '"two"'))
        running.wait_for(lambda: running.output().count("reloaded: ") == 1, "the reload")
        self.assertTrue(connect(session).session_reused)
        self.rewrite("nonsense")
        running.wait_for(lambda: "was not reloaded" in running.output(), "the refusal")
        self.rewrite(config.replace('"one"', '"two"'))
        issue()
        running.wait_for(lambda: connect().getpeercert(True) != before, "the new certificate")
        self.assertFalse(connect(session).session_reused)
        self.assertEqual(running.output().count("was not reloaded"), 1)
        wrong = self.run_to_end(*TWISTGINX, "ctl", "-c", "site.toml", "restart-workers")
        self.assertEqual((wrong.returncode, wrong.stderr), (1, "there are no workers: one process serves\n"))

    def test_removed(self) -> None:
        """
        Of a listener that goes, an idle client is told to close by its next answer.
        """
        port, other = free_port(), free_port()
        running = self.serve(site(port, other), port, other)
        client = Client(port)
        with closing(client.socket):
            client.ask()
            client.answer()
            self.reload(running, site(other))
            client.ask()
            head = client.socket.recv(65536)
            self.assertIn(b"connection: close", head.lower())
        self.assertFalse(accepts(port))
