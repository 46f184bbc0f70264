"""libtorrent as a client of a tracker, told by lines on standard input what to do; see the README one folder up.

tracker_libtorrent.py URL HEX PORT LEFT

It cannot be told what is left to fetch: it has no metadata, so it always is a leecher. That it was told of a peer shows by its
trying to connect to it.
"""
import sys
import time

import libtorrent as lt

ANSWER_S_MAX = 10


def main():
    url, key, port = sys.argv[1:4]
    session = lt.session({
        "listen_interfaces": "127.0.0.1:" + port,
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "allow_multiple_connections_per_ip": True,
        "alert_mask": lt.alert.category_t.all_categories,
    })
    params = lt.add_torrent_params()
    params.info_hashes = lt.info_hash_t(lt.sha1_hash(bytes.fromhex(key)))
    params.trackers = [url]
    params.save_path = "."
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    print("ready", flush=True)
    for line in sys.stdin:
        wanted = int(line.split()[1])
        session.add_torrent(params)
        print(answer(session, wanted), flush=True)


def answer(session, wanted):
    """Waits for the tracker's answer, and for a word of the wanted peer if there is one."""
    end = time.monotonic() + ANSWER_S_MAX
    answered = False
    while time.monotonic() < end:
        session.wait_for_alert(50)
        for a in session.pop_alerts():
            if isinstance(a, lt.tracker_error_alert):
                return "failed " + a.message().replace("\n", " ")
            answered |= isinstance(a, lt.tracker_reply_alert)
            if getattr(a, "endpoint", ("", 0))[1] == wanted and wanted:
                return "found"
        if answered and not wanted:
            return "none"
    return "none" if answered else "failed no answer"


main()
