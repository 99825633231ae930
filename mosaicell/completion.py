"""Completion of the command in a shell: a script for bash, which zsh takes too, from the options as they are."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable

#: the command that is completed
COMMAND = "mosaicell"
SCRIPT = """# for ~/.bashrc or ~/.zshrc:  eval "$({command} --completion)"
if [ -n "$ZSH_VERSION" ]; then
    type compdef >/dev/null 2>&1 || {{ autoload -U +X compinit && compinit; }}
    autoload -U +X bashcompinit && bashcompinit
fi
_{command}() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}"
    COMPREPLY=()
    case "${{COMP_WORDS[COMP_CWORD-1]}}" in
{cases}
    esac
    case "$word" in
        -*) COMPREPLY=($(compgen -W "{options}" -- "$word")) ;;
    esac
}}
complete -o default -F _{command} {command}"""
#: a word that a metavar offers, as the first two of auto|cpu|cuda[:N]
WORD = re.compile(r"[a-z]+")


def write_completion(parser: argparse.ArgumentParser) -> str:
    """Write the script: options, their words where they have some, and files for everything else."""
    actions = [action for action in parser._actions if action.option_strings]
    cases = []
    for action in actions:
        names, words = "|".join(action.option_strings), " ".join(_list_words(action))
        if words:
            cases.append(f'        {names}) COMPREPLY=($(compgen -W "{words}" -- "$word")); return ;;')
    return SCRIPT.format(command=COMMAND, cases="\n".join(cases), options=" ".join(_list_options(actions)))


def _list_words(action: argparse.Action) -> list[str]:
    if action.choices:
        return [str(choice) for choice in action.choices]
    offered = action.metavar.split("|") if isinstance(action.metavar, str) else []
    return [found[0] for one in offered if (found := WORD.match(one))]


def _list_options(actions: Iterable[argparse.Action]) -> list[str]:
    """Return what each option is called: short ones, and the first of the long ones."""
    names = []
    for action in actions:
        long = [name for name in action.option_strings if name.startswith("--")]
        names += [name for name in action.option_strings if name not in long] + long[:1]
    return names
