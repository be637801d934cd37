"""
The parts of the comparison that decide something: what /proc and the loaders say, ratios, the table.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench import wrk
from bench.command import chosen_jobs, chosen_peers
from bench.jobs import BY_NAME, JOBS, Sample
from bench.load.pace import Pace
from bench.load.wire import Failed, content_length, percentile, receive
from bench.material import NUMBER, SMALL_ANSWER, request_head
from bench.peers import CONFIGS, PEERS, ROLES, filled
from bench.processes import Stat, family, parse_rss, parse_stat, parse_stolen
from bench.report import as_json, duration, markdown, matrix, number, ratio, rows, table
from bench.rounds import Outcome, brief


class ProcTests(SynchronousTestCase):
    """
    What the kernel tells of processes.
    """

    #: proc(5): 14 utime, 15 stime, 16 cutime, 17 cstime.
    LINE = (
        "4711 (%s) S 12 4711 4711 0 -1 4194560 10 20 0 0 100 20 3 4 20 0 1 0 12345 1000 200 18446744073709551615 1 1\n"
    )

    def test_stat(self):
        """
        The CPU time is that of the process and of its children that have ended.
        """
        self.assertEqual(parse_stat(self.LINE % "nginx"), Stat(4711, 12, 127))

    def test_stat_name(self):
        """
        A process may call itself anything, a line of /proc too.
        """
        for name in ("nginx: worker process", "a) S 1 (b", ") ", "(", ""):
            self.assertEqual(parse_stat(self.LINE % name), Stat(4711, 12, 127), name)

    def test_family(self):
        """
        Children and their children count, whatever order they are listed in; others do not.
        """
        stats = [
            Stat(9, 5, 1),
            Stat(5, 2, 10),
            Stat(2, 1, 100),
            Stat(3, 1, 1000),
            Stat(1, 0, 10000),
            Stat(4, 2, 100000),
        ]
        self.assertEqual({stat.pid for stat in family(stats, 2)}, {2, 4, 5, 9})
        self.assertEqual(family(stats, 77), [])

    def test_rss(self):
        """
        Resident memory comes in kB, and means KiB.
        """
        self.assertEqual(parse_rss("5581-7ffe [rollup]\nRss:                5732 kB\nPss:  2000 kB\n"), 5732 * 1024)
        self.assertRaises(ValueError, parse_rss, "Pss: 1 kB\n")

    def test_stolen(self):
        """
        Time that was waited, for work or for the disk, is neither worked nor stolen.
        """
        self.assertEqual(parse_stolen("cpu  100 10 1 7000 8000 2 3 40 5 6\ncpu0 1 2 3 4 5 6 7 8 9 10\n"), (116, 40))


class LoadTests(SynchronousTestCase):
    """
    What loaders say.
    """

    LINE = '{"requests": 30000, "bytes": 9000000, "duration": 2000000, "p50": 1500, "p99": 4000, "errors": 2}'

    def test_parse(self):
        """
        The last line counts; wrk's own words stand before it.
        """
        load = wrk.parse(f"Running 2s test @ http://127.0.0.1:1/\n  1 threads and 50 connections\n{self.LINE}\n")
        self.assertEqual(load, wrk.Load(30000, 9000000, 2.0, 0.0015, 0.004, 2))
        self.assertEqual(load.rate, 15000)

    def test_garbage(self):
        """
        A loader that fails is not taken for one that measured something.
        """
        for output in ("", "unable to connect\n", "{}", "[1]", self.LINE + "\nAborted"):
            self.assertRaises(ValueError, wrk.parse, output)

    def test_command(self):
        """
        The files of the request and its body go to the script, after wrk's own options.
        """
        argv = wrk.command("http://127.0.0.1:1/", 3, Path("head"), Path("body"))
        self.assertEqual(argv[argv.index("--") - 1 :], ["http://127.0.0.1:1/", "--", "head", "body"])

    def test_percentile(self):
        """
        99 of 100 are not above the 99th percentile, and there is one of a single value and of none.
        """
        values = [float(each) for each in range(100)]
        self.assertEqual((percentile(values, 0.5), percentile(values, 0.99)), (50.0, 99.0))
        self.assertEqual((percentile([7.0], 0.99), percentile([], 0.99)), (7.0, 0.0))


class WireTests(SynchronousTestCase):
    """
    The little HTTP of our own loaders.
    """

    def answered(self, *pieces: bytes) -> tuple[int, bool]:
        """
        What a loader makes of an answer that comes in these pieces.
        """
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for piece in pieces:
                theirs.sendall(piece)
            theirs.shutdown(socket.SHUT_WR)
            return receive(ours, bytearray(64))

    def test_receive(self):
        """
        An answer is complete with its last byte, also when it is larger than the buffer.
        """
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n"
        self.assertEqual(self.answered(head, b"x" * 200), (len(head) + 200, True))
        self.assertEqual(self.answered(*(bytes([byte]) for byte in head + b"x" * 200)), (len(head) + 200, True))

    def test_close(self):
        """
        A connection that will be closed is known, so that its end is no error.
        """
        self.assertFalse(self.answered(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")[1])

    def test_broken(self):
        """
        An answer that ends too soon, or is no success, is an error.
        """
        for answer in (
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n",
        ):
            self.assertRaises(Failed, self.answered, answer)

    def test_content_length(self):
        """
        The field is found in any case, and last.
        """
        self.assertEqual(content_length(b"HTTP/1.0 206 x\r\nA: b\r\ncOntent-Length:  17\r\n"), 17)


class PaceTests(SynchronousTestCase):
    """
    The loader with a rate.
    """

    def test_nobody_answers(self):
        """
        Requests that are never answered are errors, and the loader ends all the same.
        """
        with socket.create_server(("127.0.0.1", 0)) as listening:
            pace = Pace(listening.getsockname()[1], 2, b"GET /?" + NUMBER + b" HTTP/1.1\r\n\r\n")
            pace.run(0.01, 1000.0, 0.01)
            pace.close()
        self.assertEqual((pace.latencies, pace.errors), ([], 2))


class MaterialTests(SynchronousTestCase):
    """
    What is asked, and of whom.
    """

    def test_head(self):
        """
        A request looks like a browser's: a dozen fields, some 600 bytes, a cookie, a number in its query.
        """
        head = request_head("GET", "/page.html")
        fields = head.split(b"\r\n")[1:-2]
        self.assertIn(len(fields), range(11, 14))
        self.assertIn(len(head), range(550, 650))
        self.assertTrue(any(field.startswith(b"Cookie: ") for field in fields))
        self.assertEqual(head.partition(b"\r\n")[0].count(NUMBER), 1)
        self.assertEqual(head[-4:], b"\r\n\r\n")

    def test_body(self):
        """
        A request with a body says how long it is.
        """
        self.assertIn(b"\r\nContent-Length: 0\r\n", request_head("POST", "/", body=0))
        self.assertNotIn(b"Content-Length", request_head("GET", "/"))

    def test_configurations(self):
        """
        Every configuration, command line and environment has values for all that it names.
        """
        names = {"UPSTREAM", "ROOT", "CERT", "KEY", "HERE", "ANSWER", "MODULES", "USER", "CONFIG"}
        values = dict.fromkeys(names | {role.upper() for role in ROLES}, "x")
        for peer in PEERS:
            for text in (*peer.argv, *peer.environment.values()):
                filled(text, values)
            if peer.config is not None:
                filled((CONFIGS / peer.config).read_text("utf-8"), {**values, **peer.values})
        self.assertRaises(KeyError, filled, "@NOBODY@", values)

    def test_quotes(self):
        """
        The upstream's answer stands between single quotes in its configuration.
        """
        self.assertNotIn(b"'", SMALL_ANSWER)

    def test_chosen(self):
        """
        Jobs and servers are taken by name, in the order of the table; nginx always takes part.
        """
        self.assertEqual(chosen_jobs("start,static-1k"), ["static-1k", "start"])
        self.assertEqual(chosen_jobs("all"), [job.name for job in JOBS])
        self.assertEqual([peer.name for peer in chosen_peers("caddy,twistginx")], ["nginx", "twistginx", "caddy"])
        self.assertRaises(SystemExit, chosen_jobs, "nothing")
        self.assertRaises(SystemExit, chosen_peers, "apache")


class ReportTests(SynchronousTestCase):
    """
    The table.
    """

    def outcome(self, mine: list[float], its: list[float], job: str = "static-1k") -> Outcome:
        """
        The outcome of a job in which these were the figures.
        """
        samples = {
            "nginx": [Sample(figure, 1000.0, 0.001, 0.002) for figure in its],
            "twistginx": [Sample(figure, 500.0, 0.0005, 1.5, 1) for figure in mine],
        }
        return Outcome(BY_NAME[job], samples, {"haproxy": "not installed"}, {"twistginx": "does something"})

    def test_ratio(self):
        """
        Each measurement is compared with nginx's of the same round: what slowed down both leaves no trace.
        """
        mine, its = ([Sample(figure) for figure in figures] for figures in ([20.0, 400.0, 33.0], [10.0, 200.0, 11.0]))
        self.assertEqual(ratio(mine, its), 2.0)
        self.assertEqual(ratio([evolve(each, ratio=5.0) for each in mine], its), 5.0)
        self.assertIsNone(ratio(mine, []))
        self.assertIsNone(ratio(mine, [Sample(0.0)]))

    def test_rows(self):
        """
        A row has the medians of the rounds, all errors, and for us whether the target is met.
        """
        nginx, ours = rows(self.outcome([30.0, 10.0, 14.0], [10.0, 10.0, 10.0]), "nginx", "twistginx")
        self.assertEqual((nginx.figure, nginx.ratio, nginx.errors, nginx.met), (10.0, 1.0, 0, None))
        self.assertEqual((ours.figure, ours.ratio, ours.errors, ours.met), (14.0, 1.4, 3, True))
        self.assertFalse(rows(self.outcome([16.0], [10.0]), "nginx", "twistginx")[1].met)

    def test_limit(self):
        """
        A target may be the figure itself.
        """
        self.assertTrue(rows(self.outcome([4.0], [0.5], "idle"), "nginx", "twistginx")[1].met)
        self.assertFalse(rows(self.outcome([5.0], [9.0], "idle"), "nginx", "twistginx")[1].met)

    def test_numbers(self):
        """
        Three digits say enough.
        """
        self.assertEqual(
            [number(each) for each in (0.1234, 9.876, 12.34, 123.4, 12345.6)], ["0.12", "9.88", "12.3", "123", "12,346"]
        )
        self.assertEqual([duration(each) for each in (None, 85.4e-6, 0.0012, 2.5)], ["-", "85 µs", "1.20 ms", "2.50 s"])

    def test_table(self):
        """
        Columns line up, in every line.
        """
        lines = table(rows(self.outcome([14.0], [10.0]), "nginx", "twistginx")).splitlines()
        self.assertEqual(len(lines), 4)
        self.assertEqual(len({tuple(place for place, char in enumerate(line) if char == "|") for line in lines}), 1)
        self.assertEqual(
            [cell.strip() for cell in lines[3].strip("|").split("|")],
            [
                "static 1 KiB",
                "twistginx",
                "14.0 µs CPU",
                "1.40",
                "500 requests/s",
                "500 µs",
                "1.50 s",
                "1",
                "yes: ≤ 1.5",
            ],
        )

    def test_matrix(self):
        """
        The ratios are also shown by job and server.
        """
        lines = rows(self.outcome([14.0], [10.0]), "nginx", "twistginx")
        lines += rows(Outcome(BY_NAME["idle"], {"nginx": [Sample(1.0)]}), "nginx", "twistginx")
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in matrix(lines).splitlines()]
        self.assertEqual(cells[0], ["x nginx", "nginx", "twistginx"])
        self.assertEqual(cells[2:], [["static 1 KiB", "1.00", "1.40"], ["7000 idle connections", "1.00", "-"]])

    def test_page(self):
        """
        The page tells machine and versions, who was left out and why, and what else one should know.
        """
        page = markdown(
            rows(self.outcome([14.0], [10.0]), "nginx", "twistginx"),
            ["proxy: x: absent"],
            ["x closes"],
            {"rounds": "3"},
        )
        for text in ("- rounds: 3\n", "Left out:\n\n- proxy: x: absent\n", "To be noted:\n\n- x closes\n", "| 1.40 "):
            self.assertIn(text, page.replace("    ", " ").replace("|    ", "| "))

    def test_json(self):
        """
        Programs get every round.
        """
        outcome = self.outcome([14.0, 15.0], [10.0, 10.0])
        page = json.loads(as_json([outcome], rows(outcome, "nginx", "twistginx"), {"rounds": "2"}))
        self.assertEqual([each["figure"] for each in page["rows"][1]["rounds"]], [14.0, 15.0])
        self.assertEqual((page["rows"][1]["server"], page["rows"][1]["target_met"]), ("twistginx", True))
        self.assertEqual(page["left_out"], {"static-1k": {"haproxy": "not installed"}})

    def test_brief(self):
        """
        What went wrong is one line, and not empty.
        """
        self.assertEqual(brief(ValueError("a\n  b\n")), "a b")
        self.assertEqual(brief(TimeoutError()), "TimeoutError")
