"""How the triggers of `assertion_lexicon` are matched: the longest one that starts at a token.

What a text says of something it mentions: asserted, denied, uncertain, hypothetical, or of another subject.

After ConText (Harkema et al., "ConText: an algorithm for determining negation, experiencer, and temporal status",
2009), NegEx (Chapman et al., 2001) and the lexicon of pyConText. A *trigger* has a status and a scope, before or
behind it, in its own sentence; a mention in its scope has its status. Longer triggers come first, and a
*pseudo-trigger* ("no doubt") holds the words of a trigger and does nothing. Triggers and the words that end scopes are
data, in `assertion_lexicon`.

Deviations from ConText:
1. Scopes end at conjunctions, new clauses, and commas that are not those of a list, not at the sentence alone; that of
   "no crest" or "unlike the crow" also at the verb or the new subject behind its noun.
2. Comparisons ("larger than", "unlike") are of another subject; ConText's are family and history.
3. Questions: "Is it X? No." denies, "Yes." asserts, any other question leaves open; "Why is it X?" takes X for granted.
4. A hedge that commits itself ("likely", "appears to be", "consistent with") asserts. "Might be" and "possibly" do not.
5. "It looks like X, but it is Y": what is conceded before a contrast is another subject's.

    reading = Reading(tokenise("It has no red crest."))
    reading.status(3, 5)  # Status.DENIED
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from seewhy.domain import assertion_lexicon as lexicon
from seewhy.domain.text import Tokens


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. `lists`: a list joined by "and" is all in scope."""

    status: str
    side: str
    reach: str
    lists: bool


Pattern = tuple[tuple[frozenset[str] | None, bool], ...]
"""Places of a phrase: the words that may stand there (None: any), and whether the place may be left out."""


def starts_with(tokens: Sequence[str], starts: Sequence[tuple[str, ...]]) -> bool:
    """Whether tokens start with any of these phrases."""
    return any(tuple(tokens[: len(start)]) == start for start in starts)


def triggers_at(tokens: Sequence[str], at: int) -> list[tuple[Rule, int]]:
    """The longest trigger that starts at a token, and the token behind it; of equals the first of the table.

    Where it looks back, the longest that looks ahead comes too: "the crest may have", "may have a crest".
    """
    best: dict[bool, tuple[Rule, int]] = {}
    single, seconds, longer = _BY_FIRST.get(tokens[at], _NO_TRIGGER)
    for rule in single:
        best.setdefault(rule.side == lexicon.AFTER, (rule, at + 1))
    second = tokens[at + 1] if at + 1 < len(tokens) else ""
    for words, pattern, rule in longer if seconds is None or second in seconds else ():
        if words is None or second in words:
            end, back = _match(pattern, 1, tokens, at + 1), rule.side == lexicon.AFTER
            if end > at and (back not in best or end > best[back][1]):
                best[back] = rule, end
    if True in best and (False not in best or best[False][1] < best[True][1]):
        return [best[back] for back in (True, False) if back in best and best[back][0].status != lexicon.PSEUDO]
    return [best[False]] if False in best else []


def _match(pattern: Pattern, place: int, tokens: Sequence[str], at: int) -> int:
    """The token behind the longest match of a pattern from `place` on; -1 where there is none."""
    if place == len(pattern):
        return at
    words, optional = pattern[place]
    end = -1
    if at < len(tokens) and (tokens[at] in words if words is not None else tokens[at] not in lexicon.MARKS):
        end = _match(pattern, place + 1, tokens, at + 1)
    return max(end, _match(pattern, place + 1, tokens, at)) if optional else end


def _patterns(phrases: str) -> list[Pattern]:
    return [
        tuple(
            (_words(token.removesuffix("?") or token), token.endswith("?") and token != "?")
            for token in phrase.strip(" ;").split()
        )
        for phrase in re.split(r"\s;\s", phrases)
        if phrase.strip(" ;")
    ]


def _words(token: str) -> frozenset[str] | None:
    if token == "_":
        return None
    words: set[str] = set()
    for word in token.split("/"):
        words |= set(lexicon.SETS[word[1:-1]].split()) if word.startswith("{") else {word}
    return frozenset(words)


def _second(pattern: Pattern) -> frozenset[str] | None:
    """The words that may be second in a match of two words or more; None where any may."""
    found: set[str] = set()
    for words, optional in pattern[1:]:
        if words is None:
            return None
        found |= words
        if not optional:
            break
    return frozenset(found)


Triggers = tuple[list[Rule], frozenset[str] | None, list[tuple[frozenset[str] | None, Pattern, Rule]]]
"""The triggers with one first word: those of that word alone; the words that may follow (None: any); the longer ones,
each with its own."""


def _index() -> dict[str, Triggers]:
    """Triggers by each word that may be their first; a phrase whose first place may be left out stands under both."""
    singles: dict[str, list[Rule]] = defaultdict(list)
    longer: dict[str, list[tuple[frozenset[str] | None, Pattern, Rule]]] = defaultdict(list)
    for status, side, reach, phrases in lexicon.TABLE:
        rule = Rule(status, side, reach.rstrip("+"), reach.endswith("+"))
        for pattern in _patterns(phrases):
            for place, (words, may_be_left_out) in enumerate(pattern):
                rest = pattern[place:]
                for word in words or ():
                    if all(optional for _, optional in rest[1:]):
                        singles[word].append(rule)
                    if len(rest) > 1:
                        longer[word].append((_second(rest), rest, rule))
                if not may_be_left_out:
                    break
    index = {}
    for word in singles.keys() | longer.keys():
        sets = [words for words, *_ in longer[word]]
        every = None if None in sets else frozenset[str]().union(*(words for words in sets if words is not None))
        index[word] = (singles[word], every, longer[word])
    return index


_NO_TRIGGER: Triggers = ([], frozenset(), [])
_BY_FIRST = _index()
FIRST_WORDS = frozenset(_BY_FIRST)


MENTION = "@"
"""What stands for a mention among the tokens that triggers are looked for in: its own words are no triggers."""
_HYPHENED = lexicon.PREFIXES | lexicon.SUFFIXES
_REACH = 40
"""Tokens that a scope may hold, so that reading stays linear."""
_LIST_ITEM = 6
"""Tokens of a list's item at most."""


class Status(Enum):
    """What a text says of a mention. Where several hold, the first of these counts, and ASSERTED last."""

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


class Reading:
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
        self._stops = [i for i, token in enumerate(self._tokens) if token in lexicon.SENTENCE_ENDS]
        self._inside: set[int] = set()
        self._read: dict[int, list[_Scope]] = {}  # sentence -> its scopes

    def status(self, start: int, end: int) -> Status:
        """The status of the words start..end-1, that stand together."""
        return self.status_of(range(start, end))

    def status_of(self, words: Collection[int]) -> Status:
        """The status of a mention that consists of these words; triggers among them are its own and do not count."""
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
        """The scopes that may reach a token: those of its sentence, and of headings not far before it."""
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
        """All triggers that act in the sentence between two stops, with what they reach."""
        found: list[tuple[Rule, int, int]] = []
        at = start
        while at < stop:
            if self._tokens[at] not in FIRST_WORDS:
                at += 1
                continue
            behind = at + 1
            for rule, end in triggers_at(self._tokens, at):
                expletive = self._tokens[at - 1] in ("it", "there") and self._tokens[end - 1] not in lexicon.MARKS
                if rule.side == lexicon.AFTER and expletive:
                    continue  # "it is not clear that": the subject comes behind
                if rule.side != lexicon.AFTER:
                    while found and found[-1][0].side == lexicon.AFTER and found[-1][2] > at and end > found[-1][2]:
                        found.pop()  # "is impossible" in "is impossible that"
                    if found and found[-1][0].side == lexicon.AFTER and found[-1][1] < at < found[-1][2]:
                        continue  # "not" in "is not visible"
                    behind = max(behind, end)
                while rule.side == lexicon.AFTER and end > at + 1 and self._tokens[end - 1] in lexicon.MARKS:
                    end -= 1
                if rule.status == lexicon.PSEUDO or lexicon.CONJUNCTIONS.isdisjoint(self._tokens[at : at + 2]):
                    self._inside.update(range(at, end))
                found.append((rule, at, end))
            at = behind
        return [self._scope(*trigger) for trigger in found if trigger[0].status != lexicon.PSEUDO]

    def _scope(self, rule: Rule, first: int, last: int) -> _Scope:
        if rule.side == lexicon.AFTER and self._tokens[first] == MENTION:
            return _Scope(rule.status, first + 1, last, first, first + 1)
        if rule.side == lexicon.AFTER:
            return _Scope(rule.status, first, last, self._start_behind(first, rule), first)
        start = self._start_behind(first, rule) if rule.side == lexicon.BOTH else last
        return _Scope(rule.status, first, last, start, self._end(last, rule))

    def _end(self, start: int, rule: Rule) -> int:
        """Where the scope of a trigger before its mention ends, the scope starting at token `start`."""
        tokens, at, content = self._tokens, self._past_insertion(start), False
        limit = min(len(tokens), at + _REACH)
        if rule.reach == lexicon.LINE:
            return self._line_end(start)
        if rule.reach == lexicon.CONDITION:
            stop = self._stops[bisect_left(self._stops, start)]
            if lexicon.CONDITIONALS.intersection(tokens[start : min(stop, limit)]):
                return stop
        while at < limit:
            token = tokens[at]
            if token in lexicon.SENTENCE_ENDS or token in (":", ")"):
                return at
            if token == "(" and tokens[at + 1] not in ("or", "nor", "and"):
                return at
            if token in lexicon.CONJUNCTIONS and at not in self._inside:
                return at
            if token == ",":
                if tokens[at + 1] in lexicon.RELATIVES and rule.status == Status.OTHER.value:
                    at = self._next(",", at + 1) or limit  # "unlike the male, which has ..., "
                    continue
                if not self._list_goes_on(at, rule):
                    return at
            elif token == "and" and self._new_clause(at + 1, rule, start):
                return at
            elif rule.reach != lexicon.CLAUSE and content:
                before = tokens[at - 1]
                if token in lexicon.VERBS and before != "to":
                    return at
                if token in lexicon.SUBJECTS or (token in lexicon.DETERMINERS and before not in lexicon.JOINS):
                    return at
            if rule.reach.isdigit() and at - start >= int(rule.reach):
                return at
            content = content or (token not in lexicon.DETERMINERS and token not in lexicon.SUBJECTS)
            at += 1
        return at

    def _start_behind(self, trigger: int, rule: Rule) -> int:
        """Where the scope of a trigger after its mention starts."""
        tokens, at = self._tokens, trigger - 1
        least = max(0, trigger - _REACH)
        plural = "are" in tokens[trigger : trigger + 2] or "were" in tokens[trigger : trigger + 2]
        joined = False
        while at > least:
            token = tokens[at]
            if token in lexicon.SENTENCE_ENDS or token == "(" or (token == ":" and at != trigger - 1):
                break
            if rule.reach != lexicon.SENTENCE:
                if token in lexicon.CONJUNCTIONS or token in lexicon.OPENERS or token in lexicon.VERBS:
                    break
                if token == ",":
                    relative = next((i for i in range(at - 1, max(at - 12, least), -1) if tokens[i] == ","), 0)
                    if relative and tokens[relative + 1] in lexicon.RELATIVES:
                        at = relative - 1  # "the Blue Jay, which has a crest, is ruled out"
                        continue
                    if not joined:
                        break
                if token in ("and", "or", "nor"):
                    joined = True
                    if token == "and" and not plural and tokens[at + 1] in lexicon.DETERMINERS:
                        break
            at -= 1
        if rule.reach == lexicon.SENTENCE and rule.status == "other" and tokens[at + 1] in lexicon.SUBJECTS:
            return trigger  # "this is a crow, but this one ..." is not about others
        return at + 1

    def _past_insertion(self, start: int) -> int:
        """Past what is inserted right behind a trigger: "not, as some think, a crow"; "not (despite this) a crow"."""
        token = self._tokens[start] if start < len(self._tokens) else "."
        close = self._next(")" if token == "(" else ",", start + 1) if token in ("(", ",") else None
        return close + 1 if close else start

    def _next(self, mark: str, start: int) -> int | None:
        """The next such mark in the sentence, not far away."""
        for at in range(start, min(start + 2 * _LIST_ITEM, len(self._tokens))):
            if self._tokens[at] == mark:
                return at
            if self._tokens[at] in lexicon.SENTENCE_ENDS:
                return None
        return None

    def _line_end(self, start: int) -> int:
        """The end of a heading's line; of the list below it, where the heading ends its line."""
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
        return not line or ":" in line or bool(lexicon.VERBS.intersection(line))

    def _list_goes_on(self, comma: int, rule: Rule) -> bool:
        """Whether a list of what is denied or compared goes on behind this comma, to an "or", or an "and" of some."""
        item = 0
        for at in range(comma + 1, min(comma + _REACH, len(self._tokens))):
            token = self._tokens[at]
            if token in ("or", "nor"):
                return True
            if token == "and":
                return rule.lists and not self._new_clause(at + 1, rule, comma)
            item = 0 if token == "," else item + 1
            if item > _LIST_ITEM or token in lexicon.LIST_ENDS:
                return False
        return False

    def _new_clause(self, at: int, rule: Rule, start: int) -> bool:
        """Whether what follows an "and" is no longer of the trigger."""
        token = self._tokens[at] if at < len(self._tokens) else "."
        if token in lexicon.INDEFINITE:
            return not (rule.lists and self._tokens[start] in lexicon.INDEFINITE)
        return token in lexicon.CLAUSE_STARTS

    def _conceded(self, scope: _Scope) -> str:
        """The status that a trigger gives; what is open or seems so, and then contrasted, is another subject's."""
        if scope.kind == lexicon.ASIDE:
            return (Status.OTHER if self._tokens.count(MENTION) > 1 else Status.ASSERTED).value
        if scope.kind not in (lexicon.SEEMS, Status.UNCERTAIN.value):
            return scope.kind
        at = scope.end + (scope.end < len(self._tokens) and self._tokens[scope.end] == ",")
        if at < len(self._tokens) and self._tokens[at] in lexicon.CONTRASTS:
            stop = self._stops[min(bisect_left(self._stops, at), len(self._stops) - 1)]
            behind = self._tokens[at:stop]
            others = self._tokens.count(MENTION) > 1 if scope.kind == lexicon.SEEMS else MENTION in behind
            if others and not lexicon.OPEN.intersection(behind):
                return Status.OTHER.value
        return Status.ASSERTED.value if scope.kind == lexicon.SEEMS else scope.kind

    def _answer(self, at: int) -> Status | None:
        """What becomes of a mention in a question; None outside of questions and where one takes it for granted."""
        place = bisect_left(self._stops, at)
        stop = self._stops[place]
        if self._tokens[stop] != "?":
            return None
        start = self._stops[bisect_right(self._stops, at) - 1] + 1
        question = self._tokens[start:stop]
        if starts_with(question, lexicon.TAKEN_FOR_GRANTED):
            return None
        if "," in question and question[0] not in lexicon.ASKING:
            tag = len(question) - question[::-1].index(",")
            if at < start + tag - 1 and lexicon.TAGS.intersection(question[tag:]) and len(question) - tag < 4:
                return None
        following = self._tokens[stop + 1 : stop + 6]
        while following and following[0] in lexicon.MARKS:
            following = following[1:]
        if starts_with(following, lexicon.NO):
            return Status.DENIED
        return Status.ASSERTED if starts_with(following, lexicon.YES) else Status.UNCERTAIN


def _token(tokens: Tokens, word: int) -> str:
    """A word with its hyphen, which changes what it does: "non-melanoma", "needle-like"."""
    text = tokens.words[word]
    if text in lexicon.PREFIXES and word + 1 < len(tokens.words) and tokens.joined[word + 1]:
        return text + "-"
    return "-" + text if text in lexicon.SUFFIXES and tokens.joined[word] else text
