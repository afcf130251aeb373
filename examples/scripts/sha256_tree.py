"""Takes the SHA-256 of every file under a folder.

    axion run examples/scripts/sha256_tree.py -p folder=docs

Reports its progress, measured in bytes. A file or folder that cannot be read is skipped and named in the answer.
Links and special files are left out: a link could lead out of the folder or round in a circle.
"""

import hashlib
import os
import stat

BLOCK = 1 << 20


def main(params, context):
    folder = params.get("folder")
    if not isinstance(folder, str) or not folder:
        raise ValueError("folder must be the path of a folder, got %r" % (folder,))
    if not os.path.isdir(folder):
        raise ValueError("folder %r does not exist or is not a folder" % folder)

    skipped = []

    def skip(path, error):
        skipped.append({"path": readable(os.path.relpath(path, folder)), "reason": error.strerror})
        context.log("skipped %(path)s: %(reason)s" % skipped[-1], "warning")

    files = find_files(folder, skip)
    total, done, reported, hashes = sum(size for _, size in files), 0, 0, {}
    for path, size in files:
        if context.cancelled:
            raise RuntimeError("cancelled after %d of %d files" % (len(hashes), len(files)))
        name = readable(os.path.relpath(path, folder))
        try:
            hashes[name] = sha256(path)
        except OSError as error:
            skip(path, error)
        done += size
        # Once per percent: a folder can have a million files.
        if total and done * 100 // total > reported:
            reported = done * 100 // total
            context.progress(done / total, name)
    return {"files": len(hashes), "bytes": total, "sha256": hashes, "skipped": skipped}


def find_files(folder, skip):
    """The regular files with their sizes, sorted by path; `skip` hears of what cannot be looked at."""
    found = []
    for parent, _, names in os.walk(folder, onerror=lambda error: skip(error.filename, error)):
        for name in names:
            path = os.path.join(parent, name)
            try:
                status = os.lstat(path)
            except OSError as error:
                skip(path, error)
                continue
            if stat.S_ISREG(status.st_mode):
                found.append((path, status.st_size))
    return sorted(found)


def readable(path):
    # A file's name is bytes and need not be UTF-8; the answer has to be.
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()
