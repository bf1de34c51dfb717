"""The same once more as the ordinary user, from a copy that this user may read."""

import json
import os
import subprocess

from harness import build


def run_as_user(folder, script, words):
    """Runs Tests/Programs/SCRIPT with these words as the ordinary user; folder/bin becomes that user's.

    It finds the folder in SCP_TEST_FOLDER, and writes an object to the file SCP_TEST_RESULT, which is returned; None when it
    has ended without.
    """
    copy, home = os.path.join(folder, "copy"), os.path.join(folder, "home")
    build.copy_for_everybody(copy)
    os.mkdir(home)
    result = os.path.join(folder, "result.json")
    with open(result, "w", encoding="utf-8"):
        pass
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    for path in (home, result, os.path.join(folder, "bin")):
        os.chown(path, build.ORDINARY_USER, build.ORDINARY_USER)
    environment = dict(os.environ, HOME=home, TMPDIR=home, SCP_TEST_RESULT=result, SCP_TEST_FOLDER=folder,
                       SWIFTCP_BUILD=os.path.join(copy, "build"))
    words = [os.path.join(copy, "Tests", "Programs", script), *words]
    subprocess.run(build.as_user_command(words), env=environment, cwd=home, check=False)
    try:
        with open(result, encoding="utf-8") as file:
            return json.load(file)
    except ValueError:
        return None
