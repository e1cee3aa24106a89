"""Several Ostiary servers of one issuer behind a balancer, each on its own database address. They share
nothing but the rows.

To a `Driver`, to the races and to browsers all of them together look like one `LiveServer`.
"""

from contextlib import ExitStack, contextmanager

from tests.flows.driving import EACH_PROCESS_LISTENS, LOG_THE_PROCESS
from tests.live import LiveServer
from tests.nodes.balancer import Balancer


class AppNodes:
    """`nodes`, and of all of them together `port`, `issuer`, `log()`; `database_url` is that of the first."""

    def __init__(self, nodes, balancer):
        self.nodes = nodes
        self.balancer = balancer
        self.port = balancer.port
        self.issuer = nodes[0].settings().issuer
        self.database_url = nodes[0].database_url
        self.environment = nodes[0].environment
        self._log, self._read = "", [0 for _ in nodes]

    def log(self):
        """The logs of all: what is new since the last call is at the end."""
        for number, node in enumerate(self.nodes):
            log = node.log()
            self._log += log[self._read[number] :]
            self._read[number] = len(log)
        return self._log

    def answered(self):
        """How many requests each node has answered."""
        return [node.log().count("process=") for node in self.nodes]

    def rows(self, sql):
        return self.nodes[0].rows(sql)

    def flask(self, *arguments, **options):
        return self.nodes[0].flask(*arguments, **options)

    def flask_json(self, *arguments, **options):
        return self.nodes[0].flask_json(*arguments, **options)


@contextmanager
def app_nodes(database_urls, folder, **options):
    """A server for each of the addresses, all of them ready."""
    with Balancer() as balancer, ExitStack() as stack:
        nodes = []
        for number, database_url in enumerate(database_urls):
            node_folder = folder / f"node{number}"
            node_folder.mkdir()
            issuer = f"http://127.0.0.1:{balancer.port}"
            node = LiveServer(database_url, node_folder, **{"issuer": issuer} | options)
            node.environment["GUNICORN_CMD_ARGS"] = f"{EACH_PROCESS_LISTENS} {LOG_THE_PROCESS}"
            stack.callback(node.kill)
            nodes.append(node.start())
        balancer.ports = [node.port for node in nodes]
        yield AppNodes(nodes, balancer)
