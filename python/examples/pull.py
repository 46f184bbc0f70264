"""Pulls a repository through zest, with a callback for what happens, and says where its bytes came from.

python examples/pull.py [ORG/NAME] [PATTERN...]
"""

from __future__ import annotations

import sys

import zest


def main() -> int:
    """Pulls what the command line names."""
    repo, *patterns = sys.argv[1:] or ["Qwen/Qwen3-0.6B", "*.json"]
    try:
        # The quickest way: a path, and a bar on the way.
        path = zest.pull(repo, allow_patterns=patterns or None)
        print(path)

        # The same with all that is known of it. Everything is there by now, so nothing is fetched again.
        pull = zest.Session().pull(repo, allow_patterns=patterns or None)
        pull.wait(lambda event: print("event:", event.name, file=sys.stderr))
        report = pull.status()["report"]
        print({name: report["bytes"][name] for name in ("total", "from_peers", "from_cdn", "from_disk")})
    except zest.NotFoundError as error:
        print(f"no such repository: {error}", file=sys.stderr)
        return 1
    except zest.ZestError as error:
        print(f"{error.kind}: {error}", file=sys.stderr)
        return 1
    status = zest.status()
    print(f"zest {status.version}: {status.bt_peers} peers, {status.chunks_served} chunks given")
    return 0


if __name__ == "__main__":
    sys.exit(main())
