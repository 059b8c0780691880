"""Decide whether a mention in a text is asserted, denied, uncertain, hypothetical, or of another subject.

After ConText (Harkema et al., "ConText: an algorithm for determining negation, experiencer, and temporal status",
2009), NegEx (Chapman et al., 2001) and the lexicon of pyConText. A *trigger* has a status and a scope, before or
after it, in its own sentence; a mention in its scope gets its status. Longer triggers win, and a *pseudo-trigger* ("no
doubt") contains the words of a trigger and does nothing. `triggers` and assertion.yaml hold them.

Deviations from ConText:
1. Scopes end at conjunctions, new clauses, and commas outside of lists, not at the sentence alone; that of "no crest"
   or "unlike the crow" also at the verb or the new subject after its noun.
2. Comparisons ("larger than", "unlike") are of another subject; ConText's other subjects are family and history.
3. Questions: "Is it X? No." denies, "Yes." asserts, any other question is uncertain; "Why is it X?" presupposes X.
4. A hedge that commits itself ("likely", "appears to be", "consistent with") asserts. "Might be" and "possibly" do not.
5. "It looks like X, but it is Y": what is conceded before a contrast is of another subject.

    assertions = Assertions(tokenise("It has no red crest."))
    assertions.status(3, 5)  # Status.DENIED
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from seewhy.domain import triggers
from seewhy.domain.text import Tokens
from seewhy.domain.triggers import BEGINNINGS, FIRST_WORDS, MARKS, SENTENCE_ENDS, WORDS, Rule, starts_with, triggers_at

MENTION = "@"
"""The token in place of a mention when triggers are looked for: its own words are not triggers."""
_CONJUNCTIONS, _VERBS, _OPENERS = WORDS["conjunctions"], WORDS["verbs"], WORDS["openers"]
_SUBJECTS, _DETERMINERS, _INDEFINITE = WORDS["subjects"], WORDS["determiners"], WORDS["indefinite"]
_CONDITIONALS, _CONTRASTS, _RELATIVES = WORDS["conditionals"], WORDS["contrasts"], WORDS["relatives"]
_OPEN, _JOINS, _ASKING, _TAGS = WORDS["open"], WORDS["joins"], WORDS["asking"], WORDS["tags"]
_PREFIXES, _SUFFIXES = WORDS["prefixes"], WORDS["suffixes"]
_CLAUSE_STARTS = _CONJUNCTIONS | _VERBS | _SUBJECTS | _OPENERS | _DETERMINERS
_LIST_ENDS = _CONJUNCTIONS | _VERBS | _SUBJECTS | _OPENERS | SENTENCE_ENDS | {":", "(", ")"}
_HYPHENED = _PREFIXES | _SUFFIXES
_REACH = 40
"""Tokens that a scope may span, so that the time stays linear."""
_LIST_ITEM = 6
"""Tokens of an item of a list, at most."""


class Status(Enum):
    """What a text says of a mention. If several apply, the first of these counts."""

    DENIED = "denied"
    OTHER = "other"
    HYPOTHETICAL = "hypothetical"
    UNCERTAIN = "uncertain"
    ASSERTED = "asserted"


@dataclass(frozen=True, slots=True)
class _Scope:
    """A trigger at tokens first..last-1 and the tokens start..end-1 that it reaches."""

    kind: str
    first: int
    last: int
    start: int
    end: int


class Assertions:
    """The triggers of one text. `mentions` are word spans (start, end) that hold no trigger, such as a label's name."""

    def __init__(self, tokens: Tokens, mentions: Sequence[tuple[int, int]] = ()) -> None:
        self._tokens: list[str] = ["."]
        self._at: list[int] = []  # word -> token
        self._lines: set[int] = {0}  # tokens that are the end of a line
        ends, words = dict(mentions), tokens.words
        until = 0
        for word in range(len(tokens.words)):
            if word < until:  # inside a mention
                self._at.append(len(self._tokens) - 1)
                continue
            self._add_marks(tokens.marks[word])
            self._at.append(len(self._tokens))
            until = ends.get(word, 0)
            self._tokens.append(
                MENTION if until else words[word] if words[word] not in _HYPHENED else _token(tokens, word)
            )
        self._add_marks(tokens.marks[len(tokens.words)])
        self._tokens.append(".")
        self._lines.add(len(self._tokens) - 1)
        self._stops = [i for i, token in enumerate(self._tokens) if token in SENTENCE_ENDS]
        self._inside: set[int] = set()
        self._read: dict[int, list[_Scope]] = {}  # sentence -> its scopes

    def status(self, start: int, end: int) -> Status:
        """Return the status of the words start..end-1, which are adjacent."""
        return self.status_of(range(start, end))

    def status_of(self, words: Collection[int]) -> Status:
        """Return the status of a mention that consists of these words; triggers among them do not count."""
        own = {self._at[word] for word in words}
        first, last = min(own), max(own)
        answer = self._answer(last)
        if answer is not None:
            return answer
        found = set()
        for scope in self._scopes_near(last):
            near = scope.start <= last and first < scope.end
            if near and any(scope.start <= at < scope.end for at in own):
                found |= set() if any(scope.first <= at < scope.last for at in own) else {self._conceded(scope)}
        return next((status for status in Status if status.value in found), Status.ASSERTED)

    def _add_marks(self, marks: str) -> None:
        for mark in marks:
            if mark == "\n":
                self._lines.add(len(self._tokens))
            self._tokens.append("." if mark == "\n" else mark)

    def _scopes_near(self, at: int) -> Iterator[_Scope]:
        """Return the scopes that may reach a token: those of its sentence, and of headings not far before it."""
        sentence = bisect_left(self._stops, at)
        for number in range(sentence, 0, -1):
            start, stop = self._stops[number - 1], self._stops[number]
            if number == sentence or ":" in self._tokens[start:stop]:
                if number not in self._read:
                    self._read[number] = self._find_scopes(start, stop)
                yield from self._read[number]
            if at - start > 2 * _REACH:
                break

    def _find_scopes(self, start: int, stop: int) -> list[_Scope]:
        """Return all triggers that act in the sentence between two stops, with what they reach."""
        found: list[tuple[Rule, int, int]] = []
        at = start
        while at < stop:
            if self._tokens[at] not in FIRST_WORDS:
                at += 1
                continue
            behind = at + 1
            for rule, end in triggers_at(self._tokens, at):
                expletive = self._tokens[at - 1] in ("it", "there") and self._tokens[end - 1] not in MARKS
                if rule.side == triggers.AFTER and expletive:
                    continue  # "it is not clear that": the subject comes behind
                if rule.side != triggers.AFTER:
                    while found and found[-1][0].side == triggers.AFTER and found[-1][2] > at and end > found[-1][2]:
                        found.pop()  # "is impossible" in "is impossible that"
                    if found and found[-1][0].side == triggers.AFTER and found[-1][1] < at < found[-1][2]:
                        continue  # "not" in "is not visible"
                    behind = max(behind, end)
                while rule.side == triggers.AFTER and end > at + 1 and self._tokens[end - 1] in MARKS:
                    end -= 1
                if rule.status == triggers.PSEUDO or _CONJUNCTIONS.isdisjoint(self._tokens[at : at + 2]):
                    self._inside.update(range(at, end))
                found.append((rule, at, end))
            at = behind
        return [self._scope(*trigger) for trigger in found if trigger[0].status != triggers.PSEUDO]

    def _scope(self, rule: Rule, first: int, last: int) -> _Scope:
        if rule.side == triggers.AFTER and self._tokens[first] == MENTION:
            return _Scope(rule.status, first + 1, last, first, first + 1)
        if rule.side == triggers.AFTER:
            return _Scope(rule.status, first, last, self._start_behind(first, rule), first)
        start = self._start_behind(first, rule) if rule.side == triggers.BOTH else last
        return _Scope(rule.status, first, last, start, self._end(last, rule))

    def _end(self, start: int, rule: Rule) -> int:
        """Return where the scope of a trigger before its mention ends, the scope starting at token `start`."""
        tokens, at, content = self._tokens, self._past_insertion(start), False
        limit = min(len(tokens), at + _REACH)
        if rule.reach == triggers.LINE:
            return self._line_end(start)
        if rule.reach == triggers.CONDITION:
            stop = self._stops[bisect_left(self._stops, start)]
            if _CONDITIONALS.intersection(tokens[start : min(stop, limit)]):
                return stop
        while at < limit:
            token = tokens[at]
            if token in SENTENCE_ENDS or token in (":", ")"):
                return at
            if token == "(" and tokens[at + 1] not in ("or", "nor", "and"):
                return at
            if token in _CONJUNCTIONS and at not in self._inside:
                return at
            if token == ",":
                if tokens[at + 1] in _RELATIVES and rule.status == Status.OTHER.value:
                    at = self._next(",", at + 1) or limit  # "unlike the male, which has ..., "
                    continue
                if not self._list_goes_on(at, rule):
                    return at
            elif token == "and" and self._new_clause(at + 1, rule, start):
                return at
            elif rule.reach != triggers.CLAUSE and content:
                before = tokens[at - 1]
                if token in _VERBS and before != "to":
                    return at
                if token in _SUBJECTS or (token in _DETERMINERS and before not in _JOINS):
                    return at
            if rule.reach.isdigit() and at - start >= int(rule.reach):
                return at
            content = content or (token not in _DETERMINERS and token not in _SUBJECTS)
            at += 1
        return at

    def _start_behind(self, trigger: int, rule: Rule) -> int:
        """Return where the scope of a trigger after its mention starts."""
        tokens, at = self._tokens, trigger - 1
        least = max(0, trigger - _REACH)
        plural = "are" in tokens[trigger : trigger + 2] or "were" in tokens[trigger : trigger + 2]
        joined = False
        while at > least:
            token = tokens[at]
            if token in SENTENCE_ENDS or token == "(" or (token == ":" and at != trigger - 1):
                break
            if rule.reach != triggers.SENTENCE:
                if token in _CONJUNCTIONS or token in _OPENERS or token in _VERBS:
                    break
                if token == ",":
                    relative = next((i for i in range(at - 1, max(at - 12, least), -1) if tokens[i] == ","), 0)
                    if relative and tokens[relative + 1] in _RELATIVES:
                        at = relative - 1  # "the Blue Jay, which has a crest, is ruled out"
                        continue
                    if not joined:
                        break
                if token in ("and", "or", "nor"):
                    joined = True
                    if token == "and" and not plural and tokens[at + 1] in _DETERMINERS:
                        break
            at -= 1
        if rule.reach == triggers.SENTENCE and rule.status == "other" and tokens[at + 1] in _SUBJECTS:
            return trigger  # "this is a crow, but this one ..." is not about others
        return at + 1

    def _past_insertion(self, start: int) -> int:
        """Return the token after an insertion that follows a trigger: "not, as some think, a crow"."""
        token = self._tokens[start] if start < len(self._tokens) else "."
        close = self._next(")" if token == "(" else ",", start + 1) if token in ("(", ",") else None
        return close + 1 if close else start

    def _next(self, mark: str, start: int) -> int | None:
        """Return the next such mark in the sentence, not far away."""
        for at in range(start, min(start + 2 * _LIST_ITEM, len(self._tokens))):
            if self._tokens[at] == mark:
                return at
            if self._tokens[at] in SENTENCE_ENDS:
                return None
        return None

    def _line_end(self, start: int) -> int:
        """Return the end of a heading's line; of the list below it, where the heading ends its line."""
        at, limit = start, min(len(self._tokens), start + 2 * _REACH)
        while at < limit and at in self._lines:
            at += 1
        while at < limit and self._tokens[at] not in (".", "?"):
            at += 1
        if start in self._lines:  # the list ends at a line that is a sentence or heading of its own
            while at < limit - 1 and at in self._lines and not self._is_prose(at + 1):
                at += 1
                while at < limit and self._tokens[at] not in (".", "?"):
                    at += 1
        return at

    def _is_prose(self, start: int) -> bool:
        line = self._tokens[start : next((s for s in self._stops if s >= start), start)]
        return not line or ":" in line or bool(_VERBS.intersection(line))

    def _list_goes_on(self, comma: int, rule: Rule) -> bool:
        """Return whether a list of what is denied or compared continues after this comma, to an "or" or "and"."""
        item = 0
        for at in range(comma + 1, min(comma + _REACH, len(self._tokens))):
            token = self._tokens[at]
            if token in ("or", "nor"):
                return True
            if token == "and":
                return rule.lists and not self._new_clause(at + 1, rule, comma)
            item = 0 if token == "," else item + 1
            if item > _LIST_ITEM or token in _LIST_ENDS:
                return False
        return False

    def _new_clause(self, at: int, rule: Rule, start: int) -> bool:
        """Return whether what follows an "and" is no longer of the trigger."""
        token = self._tokens[at] if at < len(self._tokens) else "."
        if token in _INDEFINITE:
            return not (rule.lists and self._tokens[start] in _INDEFINITE)
        return token in _CLAUSE_STARTS

    def _conceded(self, scope: _Scope) -> str:
        """Return the status that a trigger gives; what only seems so, and is then contrasted, is of another subject."""
        if scope.kind == triggers.ASIDE:
            return (Status.OTHER if self._tokens.count(MENTION) > 1 else Status.ASSERTED).value
        if scope.kind not in (triggers.SEEMS, Status.UNCERTAIN.value):
            return scope.kind
        at = scope.end + (scope.end < len(self._tokens) and self._tokens[scope.end] == ",")
        if at < len(self._tokens) and self._tokens[at] in _CONTRASTS:
            stop = self._stops[min(bisect_left(self._stops, at), len(self._stops) - 1)]
            behind = self._tokens[at:stop]
            others = self._tokens.count(MENTION) > 1 if scope.kind == triggers.SEEMS else MENTION in behind
            if others and not _OPEN.intersection(behind):
                return Status.OTHER.value
        return Status.ASSERTED.value if scope.kind == triggers.SEEMS else scope.kind

    def _answer(self, at: int) -> Status | None:
        """Return the status of a mention in a question; None outside of one, or if the question presupposes it."""
        place = bisect_left(self._stops, at)
        stop = self._stops[place]
        if self._tokens[stop] != "?":
            return None
        start = self._stops[bisect_right(self._stops, at) - 1] + 1
        question = self._tokens[start:stop]
        if starts_with(question, BEGINNINGS["presupposing"]):
            return None
        if "," in question and question[0] not in _ASKING:
            tag = len(question) - question[::-1].index(",")
            if at < start + tag - 1 and _TAGS.intersection(question[tag:]) and len(question) - tag < 4:
                return None
        following = self._tokens[stop + 1 : stop + 6]
        while following and following[0] in MARKS:
            following = following[1:]
        if starts_with(following, BEGINNINGS["negative"]):
            return Status.DENIED
        return Status.ASSERTED if starts_with(following, BEGINNINGS["affirmative"]) else Status.UNCERTAIN


def _token(tokens: Tokens, word: int) -> str:
    """Return a word with its hyphen, which changes what it does: "non-melanoma", "needle-like"."""
    text = tokens.words[word]
    if text in _PREFIXES and word + 1 < len(tokens.words) and tokens.joined[word + 1]:
        return text + "-"
    return "-" + text if text in _SUFFIXES and tokens.joined[word] else text
