"""libtorrent with nothing but local service discovery, told by lines on standard input what to do; see the README one folder up.

lan_libtorrent.py HEX PORT
"""
import sys
import time

import libtorrent as lt

HEAR_S_MAX = 15


def main():
    key, port = sys.argv[1:3]
    session = lt.session({
        "listen_interfaces": "0.0.0.0:" + port,
        "enable_dht": False, "enable_lsd": True, "enable_upnp": False, "enable_natpmp": False,
        "local_service_announce_interval": 1,
        "alert_mask": lt.alert.category_t.all_categories,
    })
    params = lt.add_torrent_params()
    params.info_hashes = lt.info_hash_t(lt.sha1_hash(bytes.fromhex(key)))
    params.save_path = "."
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    session.add_torrent(params)
    print("ready", flush=True)
    for line in sys.stdin:
        print(hear(session, int(line.split()[1])), flush=True)


def hear(session, wanted):
    end = time.monotonic() + HEAR_S_MAX
    while time.monotonic() < end:
        session.wait_for_alert(50)
        for a in session.pop_alerts():
            # The binding has no type of its own for this one; its text names the peer.
            if a.what() == "lsd_peer" and ":%d" % wanted in a.message():
                return "found"
    return "none"


main()
