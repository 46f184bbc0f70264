"""DHT nodes of libtorrent, told by lines on standard input what to do; see the README one folder up.

dht_libtorrent.py COUNT HOST:PORT|-

Three things about libtorrent in a closed network: several nodes share 127.0.0.1, so its rules of one node per address must be
off; a bootstrap node never enters its table, so nodes are introduced with add_dht_node; and the answers to get_peers are in the
alert category dht_operation.
"""
import sys
import time

import libtorrent as lt

PATIENCE_S = 20


def session():
    return lt.session({
        "listen_interfaces": "127.0.0.1:0",
        "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "dht_bootstrap_nodes": "",
        "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False,
        "dht_prefer_verified_node_ids": False, "dht_enforce_node_id": False,
        "dht_ignore_dark_internet": False,
        "dht_block_ratelimit": 1_000_000, "dht_upload_rate_limit": 10_000_000,
        "alert_mask": lt.alert.category_t.dht_notification | lt.alert.category_t.dht_operation_notification
        | lt.alert.category_t.stats_notification | lt.alert.category_t.status_notification,
    })


def alerts(s, wait_s):
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        s.wait_for_alert(50)
        yield from s.pop_alerts()
        yield None


def table_size(s):
    s.post_session_stats()
    for a in alerts(s, 2):
        if isinstance(a, lt.session_stats_alert):
            return a.values["dht.dht_nodes"]
    return 0


def announce(s, key, port):
    s.dht_announce(key, port, 0)
    return "ok"


def find(s, key, port):
    s.pop_alerts()
    s.dht_get_peers(key)
    for a in alerts(s, 2):
        if isinstance(a, lt.dht_get_peers_reply_alert) and any(peer[1] == port for peer in a.peers()):
            return "found"
    return "none"


def main():
    count, boot = int(sys.argv[1]), sys.argv[2]
    sessions = [session() for _ in range(count)]
    end = time.monotonic() + PATIENCE_S
    while any(s.listen_port() == 0 for s in sessions) and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)  # The UDP sockets of a session open a little later than its port is known.
    addresses = [("127.0.0.1", s.listen_port()) for s in sessions]
    for s, own in zip(sessions, addresses):
        for other in addresses:
            if other != own:
                s.add_dht_node(other)
        if boot != "-":
            host, port = boot.rsplit(":", 1)
            s.add_dht_node((host, int(port)))
    lonely = count == 1 and boot == "-"
    while not lonely and any(table_size(s) == 0 for s in sessions):
        if time.monotonic() > end:
            print("failed: no node answers", flush=True)
            return
    print("ready %s:%d" % addresses[0], flush=True)
    for line in sys.stdin:
        word, key, port = line.split()
        node, act = (sessions[0], announce) if word == "announce" else (sessions[-1], find)
        print(act(node, lt.sha1_hash(bytes.fromhex(key)), int(port)), flush=True)


main()
