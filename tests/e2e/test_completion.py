"""Completion in the shells themselves, as a person has it: a line, a tab, and what then stands there."""

import os
import pty
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import TOOL

SCRIPTS = Path(__file__).resolve().parents[2] / "packaging/completion"
ENVIRONMENT = {"PATH": f"{os.path.dirname(TOOL)}:{os.environ['PATH']}", "HOME": "/nonexistent", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"


def needs(program, path=None):
    if not shutil.which(program) or (path and not os.path.exists(path)):
        pytest.skip(f"{program}'s completion is not installed")


def in_bash(line, folder):
    needs("bash", BASH_COMPLETION)
    script = f"""source {BASH_COMPLETION}; source {SCRIPTS}/cprof-attach.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
_cprof_attach cprof-attach "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "--norc", "-c", script, "bash", *line.split(" ")], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    return done.stdout.split()


def in_fish(line, folder):
    needs("fish")
    done = subprocess.run(["fish", "--no-config", "-c", f"source {SCRIPTS}/cprof-attach.fish; complete -C '{line}'"],
                          env={**ENVIRONMENT, "HOME": folder}, capture_output=True, text=True, timeout=60)
    return [word.split("\t")[0] for word in done.stdout.splitlines()]


def in_zsh(line, folder):
    needs("zsh")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**ENVIRONMENT, "HOME": folder, "TERM": "xterm", "COLUMNS": "200"})
    output = b""

    def until(pattern):
        nonlocal output
        while not re.search(pattern, output):
            assert select.select([terminal], [], [], 60)[0], output
            output += os.read(terminal, 65536)

    # LISTMAX and the list without a question; the prompt tells when zsh is ready.
    os.write(terminal, f"fpath=({SCRIPTS} $fpath); autoload -U compinit; compinit -u -D; LISTMAX=1000; unsetopt zle_bracketed_paste list_ambiguous auto_menu; PS1='rea''dy>'\n"
             .encode())
    until(rb"ready>")
    output = b""
    os.write(terminal, line.encode() + b"\t")
    # What it has completed or listed is there before this answers.
    os.write(terminal, b"\x15echo do''ne\n")
    until(rb"done\r")
    os.write(terminal, b"exit\n")
    os.close(terminal)
    os.waitpid(pid, 0)
    return re.sub(rb"[\x00\x07]|\x1b\[[0-9;?]*[a-zA-Z]", b"", output).decode(errors="replace").split()


@pytest.mark.parametrize("shell", [in_bash, in_fish, in_zsh])
def test_completion(shell, folder):
    assert "--duration" in shell("cprof-attach --dur", folder)
    assert {"--debuginfod", "--debuginfo-path"} <= set(shell("cprof-attach --debuginfo", folder))
    assert "symbolize" in shell("cprof-attach symb", folder)
    assert "--verbose" in shell("cprof-attach symbolize --verb", folder)
    assert "--max-pause" not in shell("cprof-attach symbolize --m", folder)
    assert "--subprocesses" in shell("cprof-attach --sub", folder)
    assert "state" in shell("cprof-attach -e s", folder)
