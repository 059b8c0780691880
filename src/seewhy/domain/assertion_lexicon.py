"""The triggers of `assertion`, and the words that end their scopes: data alone, matched by `triggers`.

A row of the table is (status, side, reach, phrases).
Side. BEFORE: the trigger stands before what it speaks of; AFTER: behind it; BOTH: either.
Reach. CLAUSE: to the end of the clause; PHRASE: also to the verb or the new subject behind the noun; SENTENCE; LINE: of
a heading, and the list below it; CONDITION: what hangs on it too ("if it were, I would say"); or a number of words.
"+" behind a reach: a list joined by "and" is all of it ("lacks wing bars and a crest").
A phrase is words and marks: `a/b` are alternatives, `{be}` a set of words below, `?` makes optional, `_` is any word,
`@` a mention, `.` the end of a sentence or line. A phrase that looks back and starts with `@` is of that mention alone.
"""

from seewhy.domain.text import word_set

BEFORE, AFTER, BOTH = "before", "after", "both"
CLAUSE, PHRASE, SENTENCE, LINE, CONDITION = "clause", "phrase", "sentence", "line", "condition"
PSEUDO, SEEMS, ASIDE = "pseudo", "seems", "aside"
"""PSEUDO triggers do nothing; SEEMS asserts, unless a contrast with another mention follows; ASIDE is another subject's
where the text mentions another one too."""

SETS = {
    "be": "is are was were be been being seems seem appears appear looks look remains remain",
    "adv": (
        "also clearly really very quite rather completely entirely fully totally mostly partly partially "
        "largely definitely certainly probably likely safely easily actually therefore thus always usually "
        "often simply readily obviously immediately directly reliably confidently effectively essentially "
        "virtually currently still now here just further even necessarily particularly especially at all "
        "notably conspicuously apparently yet themselves itself"
    ),
    "modal": "can could may might must should will would",
    "end": ". , ) ; ?",
    "it": "it this that he she they these those there @",
    "seen": (
        "visible seen present shown show there apparent exist evident discernible discerned identified "
        "detected found observed noted noticed appreciated demonstrated identifiable detectable noticeable "
        "perceptible distinguishable recognisable recognizable recorded depicted displayed exhibited "
        "included featured suspected diagnosed"
    ),
    "gone": (
        "absent missing hidden invisible obscured lacking wanting unseen covered concealed nonexistent "
        "occluded nowhere negative negated"
    ),
    "out": "excluded eliminated dismissed rejected discarded refuted disproved discounted",
    "sign": (
        "evidence sign signs indication indications proof hint hints suggestion trace traces finding findings "
        "features feature symptoms symptom reason reasons way chance possibility basis question grounds need "
        "suspicion manifestation manifestations radiographic"
    ),
    "sure": "sure certain positive confident convinced clear obvious definite known",
    "tell": (
        "tell say determine know decide judge confirm verify establish identify distinguish see discern name "
        "state conclude ascertain recognise recognize specify"
    ),
    "hard": "hard difficult impossible tricky tough challenging",
    "liken": "similar comparable akin close analogous identical equivalent",
    "part": (
        "distinguish distinguishes distinguished distinguishing distinguishable differentiate differentiates "
        "differentiated differentiating separate separates separated separating tell tells told telling set "
        "sets setting discriminate discriminated discriminates discriminating"
    ),
    "mix": ("confuse confused confusing mistake mistaken mistook mistaking confusable confuses confounded conflated"),
    "place": "background distance foreground rear",
    "to": "to",
    "nearly": "almost nearly first initially",
    "belief": "think believe suspect feel consider say find see observe notice know assume suppose detect call",
}
"""Words that phrases name in braces."""

TABLE: tuple[tuple[str, str, str, str], ...] = (
    (PSEUDO, BEFORE, CLAUSE, """
        not only/just/merely/simply/solely/exclusively ; not to mention ; not least ; not surprising/surprisingly ;
        not uncommon/uncommonly/infrequently/unusual ; not {hard}/difficult to {tell} ; not to be missed/overlooked
        ; not in doubt ; do/does/need not forget ; not doubt ; not without ; not until ; no doubt ; no question
        that/about/but/this/it/: ; no mistaking ; no mistake ; no other/others than ; no less than ; no wonder ; no
        more than ; no later than ; no longer than ; no problem ; no one ; no matter ; no sooner ; there is no
        question ; beyond doubt/question ; beyond a/any/all doubt ; no fewer than ; . no , ; , no , ; none other
        than ; nothing but ; nothing other/else than ; nothing less/short than/of ; no room for doubt ; without
        a/any/the? shadow of a doubt ; without any/a? doubt/question/fail/exception/hesitation/uncertainty ;
        doubtless ; undoubtedly ; leaves/leaving no doubt ; leave/leaves/leaving no/little doubt ; little doubt ;
        hardly any doubt ; can not be anything/something but ; can not be anything/something other/else than ; could
        not be anything but/else ; can not be other than ; can not be {mix} ; can not be mistaken ; can not help but
        ; can not but ; can only be ; could only be ; can not be overlooked/missed ; unmistakable ; unmistakably ;
        rather than not ; more likely than not ; would like to ; would
        say/call/identify/classify/name/guess/describe/label ; would
        suggest/conclude/argue/lean/bet/go/rate/put/choose/pick/answer/judge/diagnose ; would be
        inclined/confident/tempted ;
        guess/answer/choice/identification/vote/bet/conclusion/diagnosis/verdict/name/pick would be ; would
        definitely/certainly/probably/therefore/also say/call/identify/classify/name/guess/describe ; can/could be
        seen/observed/noted/noticed/found/made/recognised/recognized/identified/classified/described ; can/could
        clearly/easily/also/still/just/only/confidently/reliably be
        seen/observed/noted/identified/recognised/recognized ; can tell/see/say/identify/confirm ; may be seen ; may
        i ; may not come as ; . can/may/could i ; would appear/seem to be ; it would appear/seem ; this would
        appear/seem ; would be described/called/classified/named as? ; if i am not mistaken ; unless i am mistaken ;
        if i am not wrong ; if anything ; if you look/zoom/examine/compare/inspect ; if you look closely/carefully ;
        if only faintly ; as if to ; like this/these/those one/ones? ; looking like new ; other than that ; other
        than this ; except that ; not hidden/obscured/covered/concealed/absent/missing ; no longer hidden ; never
        mind ; more than ; less than half ; other than being ; whether or not ; the question is answered ; no
        different from/to/than usual ; hardly surprising ; as well as ; . unlike/not surprisingly
    """),
    ("denied", BEFORE, CLAUSE, """
        not ; never ; neither ; nor ; by no means ; in no way ; under no circumstances ; no {sign}
        that/of/for/to/this/it/he/she ; no {sign} @ ; no
        clear/definite/convincing/obvious/real/radiographic/clinical/visible/good? {sign} that/of/for/to ; nothing
        to/that suggest/suggests/indicate/indicates/point/points/support/supports ; nothing like ; nothing of ;
        nowhere near ; hardly/scarcely ; unlikely ; improbable ; doubt ; doubts ; doubtful ; doubting ; far from ;
        anything but ; nothing about ; too _ to/for ; too _ and _ to/for ; fail/fails/failed/failing to ;
        fail/fails/failed/failing as? ; refuse/refuses to ; cease/ceases to ; neither of ; none of ; no longer ;
        {be} {adv}? unlikely/improbable/doubtful to/that ; no such ; little {sign} of/that/for/to ; little to
        suggest/indicate/support ; wrong to ; incorrect to ; would be wrong/incorrect/a to ; mistake to ; no , not ;
        false that ; untrue that ; wrong that ; {part} not ; deny/denies/denied/denying that? ;
        contradict/contradicts/contradicting that? ; it is false/untrue/wrong/incorrect that ; impossible that/for ;
        anything other than ; far too _ to/for ; insufficient/inadequate for/to
    """),
    ("denied", BEFORE, "1", """
        non- ; un-
    """),
    ("denied", BEFORE, PHRASE, """
        no ; hidden/invisible/missing/absent ; against ; argue/argues/arguing/speak/speaks/speaking/evidence against
        ; inconsistent/incompatible/incongruent with ; almost/nearly ; never any ; no any ; zero evidence of
    """),
    ("denied", BEFORE, PHRASE + "+", """
        without ; lack/lacks/lacked/lacking of/in? ; lack of ; absence of ; free of/from ; devoid of ; void of ;
        bare of ; clear of ; negative for ; instead of ; rather than ; except for? ; excepting/excluding/minus/sans
        ; exclude/excludes/excluded ; would? rule/rules/ruled/ruling out ; would exclude/dismiss/reject/eliminate ;
        rule/rules/ruled/ruling _ out ; ruling-out ; dismiss/dismisses/dismissed ; reject/rejects/rejected/rejecting
        ; refute/refutes/refuted ; eliminate/eliminates/eliminated/eliminating ;
        discard/discards/discarded/discarding ; discount/discounts/discounted ; miss/misses ; missing from ; other
        than ; short of ; omit/omits/omitting ; deficient in ; barring ; save for ; unaffected by ; untouched by ;
        not a trace of
    """),
    ("denied", BEFORE, LINE, """
        . not {seen}/visible {end}? : ; features/signs/findings/marks/parts not {seen}/visible {end}? : ;
        absent/missing/hidden/lacking features/concepts/signs/marks/findings/parts? :
        ; negative features/findings/signs? : ; not : ; {gone} : ; ruled out : ; excluded : ; no : ; not shown : ;
        negatives : ; pertinent negatives : ; what is missing/absent : ; incorrect/wrong answer/answers/options? : ;
        not {seen} in this/the image/photo/picture/bird : ; features not {seen} :
    """),
    ("denied", AFTER, CLAUSE, """
        that/which? {be} {adv}? {adv}? {gone} ; has/have been {adv}? ruled out ; {be} {adv}? ruled out ; {modal}
        {adv}? be ruled out ; {be} {adv}? {adv}? {out} ; has/have been {out} ; {modal} {adv}? be {adv}? {out} ;
        that/which? {be} not {adv}? {adv}? be? {seen} ; {be} not {adv}? to be {seen} ; do/does/did not {adv}?
        show/appear/exist {end}/up/here/in ; do/does/did not appear/seem to? be {seen} ; can/could not {adv}? be
        {seen} ; can/could not be {adv}? confirmed/made/established ; {be} not to be {seen} ; {be} nowhere to be
        seen/found ; {be} {adv}? unlikely/improbable/implausible ; {be} {adv}? impossible ; {be} out of the question
        ; {be} {adv}? incorrect/wrong/false/untrue ; {be} not {adv}? correct/right/true/likely/plausible/possible ;
        {be} not the? correct/right? answer/diagnosis/species/label/case/option/choice/it/match ; does/do not {adv}?
        fit/match/apply/qualify/hold ; {be} a poor/bad match ; {be} not {adv}? a good? match/fit ; has/have not been
        {seen} ; {be} {adv}? contradicted ; {be} not . ; does not . ; can be ruled out ; {be} {adv}? lacking ; {be}
        none . ; {be} not what ; {be} not how ; {be} not an option
    """),
    ("denied", AFTER, PHRASE, """
        {gone} {end} ; {adv} {gone} {end} ; ( {gone} ) ; ( {adv} {gone} ) ; ( not {adv}? {seen} _? _? _? ) ; :
        {gone} ; : not {adv}? {seen} ; : no {end} ; : none {end} ; : not {end} ; ( no ) ; ( none ) ; , no {end} ; ,
        not {seen} {end} ; : false ; : none seen/visible/present ; : nil ; : rejected ; : excluded ; : ruled out ; ,
        {gone} {end} ; ( ruled out ) ; ( excluded ) ; ( not ) ; : incorrect ; : wrong ; , ruled out {end} ; ? no ; ?
        not ; : unlikely ; ( unlikely ) ; not {seen} {end} ; hidden/obscured/covered by ; unlikely {end} ; : n / a ;
        : 0 {end} ; ruled out {end} ; : negative ; : absent
    """),
    ("uncertain", BEFORE, CLAUSE, """
        possibly ; maybe ; perhaps ; potentially ; conceivably ; might ; may ; could ; can be ; possible ; potential
        ; questionable ; equivocal ; not {adv}? {sure} ; unsure ; uncertain ; unclear ; not {adv}? {tell} ;
        can/could not {adv}? {tell} ; can/could not be {sure} ; unable to {tell} ; not able to {tell} ; {hard} to
        {tell} ; not easy to {tell} ; not possible to {tell} ; whether ; undecided ; torn ; hesitate/hesitant ;
        wonder/wondering ; suspected ; question of ; not have enough/sufficient ; not enough/sufficient ; not {adv}?
        exclude/excluded ; not {adv}? rule out ; can/could not {adv}? rule out ; not ruled out ; can not {adv}?
        exclude/eliminate/dismiss ; somewhere/something between ; differential diagnosis? includes/include/is/would
        ; one of ; some say/think/believe ; others ; or maybe/perhaps/possibly ; not necessarily ; do/does not know
        ; no idea if/whether ; remains to ; guess between ; consideration/considerations ; to rule out ; r / o ;
        assuming ; supposedly ; allegedly ; said to be ; maybe even ; chances are
    """),
    ("uncertain", BEFORE, LINE, """
        differential diagnosis/diagnoses? : ; other
        possibilities/options/candidates/diagnoses : ; possibilities : ; candidates : ; unsure : ;
        uncertain : ; possible
        answers/labels/species/diagnoses/classes/options : ; to consider :
    """),
    ("uncertain", AFTER, CLAUSE, """
        {be} {adv}? possible ; {be} a possibility ; {be} {adv}? questionable/uncertain/unclear/debatable/undecided ;
        {modal} be present/possible/there ; may/might/could be ; can/could not {adv}? be {adv}? ruled out ;
        can/could not {adv}? be {adv}? {out} ; {be} not {adv}? ruled out ; {be} not {adv}? {out} ; {be} not {sure} ;
        {be} one option/candidate/possibility ; {be} {hard} to {tell} ; {be} also possible ; {be} open ; comes/come
        to mind ; {be} also an? option/possibility/candidate ; {be} another possibility/option/candidate ; can/could
        not be {tell}/confirmed ; : unclear ; : uncertain ; : possible ; ( possible ) ; ( possibly ) ; ( uncertain )
        ; ( unclear ) ; : maybe ; : unknown ; , maybe {end} ; , perhaps {end} ; , possibly {end}
    """),
    ("hypothetical", BEFORE, CLAUSE, """
        unless ; evaluate/evaluation/assess/assessment/workup/examined/monitor/monitored for ; should have/show/be?
        _? have/show ; as if ; as though ; suppose ; imagine ; in case of ; risk/risks/risk-factor of/for ; history
        of ; turn/turns/turning/turned into ;
        develop/develops/developing/developed/evolve/evolves/progress/progresses/transform/transforms into/to ;
        prone to ; look/looking/check/watch/search for ; expect/expects/expected ; ought to ; wish ; wishes ;
        precursor to/of ; susceptible to ; lead/leads/leading to ; test/tested/testing/screen/screened/screening for
        ; treat/treated/treatment for ; vaccine/vaccinated against
    """),
    ("hypothetical", BEFORE, CONDITION, """
        if ; were it/this/he/she/they ; had it/this/he/she/they ; provided that
    """),
    ("hypothetical", BOTH, CLAUSE, """
        would
    """),
    ("hypothetical", AFTER, CLAUSE, """
        should have/show ; {be} to be expected ; {be} expected ; might/may/could have/show/look/appear
    """),
    ("other", BEFORE, PHRASE + "+", """
        unlike ; not unlike ; like ; just like ; than ; other than the ; {liken} to ; {liken} in _ to ; close
        relative/relatives/cousin/cousins of ; relative/relatives/cousin/cousins of ; closely? related to ;
        reminiscent of ; resemble/resembles/resembling/resembled ; mimic/mimics/mimicking/mimicked ; as opposed to ;
        opposed to ; in contrast to/with ; by contrast to/with ; contrary to ; compared/comparing to/with ; compare
        to/with ; in comparison to/with ; comparison to/with ; differ/differs/differed/differing from ; different
        from/to/than ; difference/differences to/from/between ; distinct from ; distinctive from ; {part} from ;
        {part} apart from ; {part} it/this/them/him/her/these/that/@ apart? from ; {part} the/this/a? _ apart? from
        ; {part} _ _ _ from ; {mix} with/for ; {mix} it/this/them/@ with/for ; {mix} the/this/a _ with/for ; mixed
        up with ; taken for ; pass/passes/passed for ; lookalike/lookalikes of/is/are ; as _ as ; as _ and _ as ;
        not as _ as ; not so _ as ; same _ as ; the same as ; that of ; those of ; typical of other ; ( vs ; (
        versus ; , vs ; as with ; as in ; inferior/superior to ; relative to ; ( cf ; ( compare ; half/twice the
        size of ; contrast/contrasts/contrasting with ; distinguishes/separates between ; while/whereas other ;
        nearly the size of ; the size of ; next of kin ; look-alike ; evokes ; recalls ; imitate/imitates/imitating
    """),
    ("other", BEFORE, CLAUSE, """
        whereas ; , while ; ( unlike ; ( whereas ; ( while ; ( not ; . while ; one/you/people/some/many/others
        might/may/could/would/will? think/believe/say/call/guess/assume/suspect/mistake ; often thought ; mistakenly
        ; misidentified as ; misnamed ; mislabelled as ; mislabeled as ; at first i thought ; i/we
        considered/thought ; i first/initially/originally thought ; first/initially/originally thought/considered ;
        could/might/may/can be? {mix} with/for ; could/might/may/can {adv}? be {adv}? {mix} with/for ; {be} {adv}?
        {mix} with/for ; might/may/could look/seem/appear/resemble ; might/may/could at first look/seem/appear ;
        once thought ; used to be called/classified/considered ; formerly ; sometimes/often/commonly/easily
        called/mistaken/confused ; seems at first ; . males/females/adults/juveniles/immatures/others ;
        in/unlike/only/among other? males/females/adults/juveniles/immatures ; . most/some/many/other/all/typical
       
        birds/species/dogs/males/females/adults/individuals/breeds/leaves/plants/lesions/crows/planes/aircraft/cars/dishes
        ; . adult/young/juvenile/breeding/immature males/females/birds/adults ; ,
        males/females/adults/juveniles/others ; preys/preying/feeds/feeding on
    """),
    ("other", BEFORE, LINE, """
        similar/related/confusion/confusing/comparable/lookalike
        species/birds/breeds/classes/labels/types/models/aircraft/diagnoses/dishes? : ; {mix} with/for : ;
        can/may/might be {mix} with/for : ; compare : ; compare with : ; see also : ; cf : ; lookalikes : ; how to
        tell it from _ : ; versus : ; distinguish from : ; do not {mix} with/for : ; often {mix} with/for :
    """),
    ("other", AFTER, CLAUSE, """
        , by/in contrast/comparison ; , on the other hand ; , on the contrary ; , conversely ; , meanwhile ; , for
        comparison ; by/in contrast , ; , for instance , have/has ; do/does {end}
    """),
    ("other", AFTER, SENTENCE, """
        ,? but/whereas/while/yet this
       
        one/butterfly/fish/cell/animal/instrument/vessel/ship/tree/flower/mushroom/object/part/item/insect/vehicle/dish/cloud/stone/bird/individual/specimen/dog/leaf/lesion/plane/plant/aircraft/car/fruit/image/x
    """),
    (PSEUDO, BEFORE, CLAUSE, """
        it {adv}? do/does . ; this {adv}? do/does . ; too small/large/big to miss
    """),
    (SEEMS, BEFORE, PHRASE, """
        look/looks/looked/looking/seem/seems/seemed/appear/appears/sounds/sound/feel/feels {adv}?
        much/more/most/exactly/just/a? lot? like ; looks/look/seems/seem/appears/appear to be ;
        looks/look/seems/seem/appears/appear
    """),
    # --- further phrases
    ("other", BEFORE, LINE, "alternatives : ; alternatively : ; alternative species/answer/label/class/option :"),
    (PSEUDO, BEFORE, CLAUSE, """
        such as ; whereas/while this/it ; if i had to guess/choose/decide/pick/bet ; if forced to choose/guess ; if
        pressed ; no other _ here ;
        more than likely ; would have to say ; not the least doubt ; not wrong to
    """),
    ("denied", BEFORE, CLAUSE, """
        wrong/incorrect for ; nothing points/point/pointing to/at/towards ; nothing indicates/suggests/supports/says ;
        nobody ; no one would/could/should ; few would/people would ; no/low/little/minimal
        suspicion/likelihood/probability/concern of/for/that ;
        rules/ruled/ruling a/an/the/this/any/out ; would not ; decide/decided/argue/argues/inclined/leaning/lean
        against
    """),
    ("denied", AFTER, CLAUSE, """
        can/could not be {adv}? right/correct/true/it/the/what ; can/could not be . ; {be} off the table ; {be} not
        {adv}? suspected ;
        does not seem/appear right/likely/correct/plausible ; {be} ruled-out
    """),
    ("denied", AFTER, SENTENCE, """
        , but that/this/it is/was {adv}? wrong/incorrect/false/impossible/mistaken ; , but that/this/it is/was not
        {adv}? right/correct/true/it/possible/the ;
        but no . ; , which is/was {adv}? wrong/incorrect/false
    """),
    ("other", BEFORE, CLAUSE, """
        first/initial/immediate idea/guess/thought/impression/instinct/reaction was/is ; @ over
    """),
    ("other", AFTER, CLAUSE, """
        do/does not {adv}? have/show/share/possess/exhibit . ; never have/has/show/shows/shares . ; lacks/lack . ;
        do not .
    """),
    ("uncertain", BEFORE, CLAUSE, "chance/chances/possibility/likelihood/probability that/of"),
    ("other", BEFORE, PHRASE, "remind/reminds/reminded me/us/one of ; reminds of"),
    ("other", BEFORE, PHRASE, "has/have/had the size/length/build/shape of a/an"),
    (SEEMS, BEFORE, PHRASE, "has/have/had the _ of a/an ; has/have/had the _ and _ of a/an"),
    ("hypothetical", BEFORE, PHRASE, "resolved/resolving/prior/previous/former/past/healed"),
    ("uncertain", AFTER, CLAUSE, """
        should/must/needs be? to? be? considered/excluded/ruled/investigated ; should/must still? be
        considered/excluded/ruled/investigated ;
        remains open/unclear/uncertain/possible/unconfirmed/unknown
    """),
    ("uncertain", BOTH, PHRASE, "vs ; versus"),
    # --- what else is in the picture, and what was asked
    (ASIDE, AFTER, CLAUSE, """
        @ that/which? {be}? in the {place} ; @ that/which? {be}? {adv}? {seen} in the {place} ;
        @ can/could be {adv}? {seen}
        in the {place} ; @ that/which? {be}? {adv}? {seen}? behind/beside/near/next {to}? it/him/her/them/this ;
        @ can/could
        be {adv}? {seen} behind/beside/near/next {to}? it/him/her/them ; @ {be}? to the/its left/right of
        it/him/her/them
    """),
    ("other", BEFORE, CLAUSE, """
        in the {place} has/have/is/are/shows/show/with/displays/looks/appears
    """),
    (ASIDE, BEFORE, CLAUSE, """
        . in the {place} ; , in the {place} ; and/but in the {place} ; behind/beside/near it/him/her/them ,?
        there/a/an/is/are/you/one/i/we/some/two/several ; next to it/him/her/them ,?
        there/a/an/is/are/you/one/i/we/some/two/several
    """),
    ("other", BEFORE, CLAUSE + "+", """
        the? possible? options/choices/classes/labels/categories/candidates/alternatives {be}/include/were/included ;
        . out of ; , out of ; . between ; . among ; . from among ; of the
        options/choices/classes/labels/candidates/alternatives ; choose/choosing/chosen/pick/select/decide
        from/among/between ; asked to choose/decide/distinguish between
    """),
    ("other", BEFORE, LINE, "options : ; choices : ; classes : ; labels : ; categories : ; answer options/choices :"),
    ("other", BEFORE, CLAUSE, """
        i/we {be} {adv}? going/about/ready to say/call/guess/answer/write/name/identify/pick/go ; tempted/tempting to
        say/call/think/guess/answer/name/identify/label/classify/see/read/take/mistake/assume/conclude ; i/we
        {nearly} said/called/thought/wrote/guessed/took/picked/chose/answered/went ; i/we could have sworn ; i/we
        would have said/guessed/called/expected/thought ; i/we had expected/assumed/thought ; i/we
        expected/assumed ; i/we initially/first leaned/leant ; the caption/file/filename/title/sign
        says/said/claims/reads ; allegedly/supposedly/reputedly ; so-called ; pretending/pretends/pose/poses/posing
        to/as
    """),
    (ASIDE, AFTER, CLAUSE, "@ i/we expected/assumed/suspected/feared/hoped"),
    (PSEUDO, BEFORE, CLAUSE, """
        , while/whereas this/it/these/here ; partly/partially/slightly/somewhat/half
        hidden/obscured/covered/concealed/occluded/invisible by? ; {be}
        partly/partially/slightly/somewhat/half hidden/obscured/covered/concealed/occluded/invisible by? ; no ) ;
        stand/stands/standing/stood/stick/sticks/sticking out {adv}? against ; contrast/contrasts/contrasting _?
        with/against the/its/their/a/an ; {seen}/set/pop/pops/popping/silhouetted/placed/clear/held/leaning/pressed
        against ; against a/an/the/its _? background/sky/backdrop/wall ; i would be tempted
    """),
    ("other", BEFORE, PHRASE, "contrast/contrasts/contrasting with the/a/an _? @"),
    ("other", BEFORE, CLAUSE, """
        . compare with? ; , compare with? ; ( cf ; {mix} these/those/them/one/this/some with/for ; {mix} _ _? with
    """),
    ("other", AFTER, CLAUSE, """
        {be} my/the/a/another second/third/next/other/alternative choice/guess/option/candidate/pick/best ; {be}
        second/third best? ; a close second
    """),
    ("hypothetical", BEFORE, CLAUSE, """
        about to ; going to be/turn/become/develop/get ; will soon/become/turn/develop ; soon be
    """),
    # --- what was, and is no more
    ("hypothetical", AFTER, CLAUSE, """
        ,? that/which? has/have/had since {adv}? been? _
    """),
    ("denied", AFTER, CLAUSE, ",? that/which/now? {be} not {adv}? {adv}? be? {seen}"),
    ("hypothetical", BEFORE, PHRASE, """
        previously/formerly/initially/originally/earlier/once
        {seen}/described/reported/classified/labelled/labeled/known/considered/called/treated/resected/removed/listed
        as? ; resolution/regression/resection/removal/excision/repair/disappearance/clearance/clearing of ; status
        post ; s / p ; used to be/have/show/contain/hold ; was/were
        once/formerly/previously/originally a/an/the/@ ; was/were once/formerly/previously/originally
        thought/considered/believed/said/held to? be? a/an/the/@ ; once had ;
        had been a/an/the ; in place of ; recovered from ; survivor/survivors of ; scars/scar from ; after/following
        treatment/resection/removal/surgery of/for ; years/months/weeks/days after ; remission from/of ; cured of
    """),
    ("hypothetical", AFTER, CLAUSE, """
        has/have {adv}? been?
        resolved/cleared/disappeared/healed/vanished/gone/regressed/subsided/resected/removed/cured ;
        {be} {adv}? resolved/healed/resected/cured/gone ; has/have/had since {adv}? been? _ ; , now/since
        resolved/healed/cleared/resected/removed ; ( resolved ) ; ( healed ) ; : resolved ; in the past/remission ;
        was/were {adv}? {seen}? previously/formerly/before/earlier ; until/till last/recently ; @ before
        it/this/they/the/being
    """),
    ("denied", AFTER, CLAUSE, """
        {be}/does/do/has/have/can no longer be? {seen}/appreciable/seem/have/exist/be/a/an/the/what ; {be} no more
    """),
    # --- inverted conditions
    ("hypothetical", BEFORE, CONDITION, """
        . were/had the/its/this/that/these/those/there/a/an/any/you/i/we/he/she/they/it/@ ; , were/had
        the/its/there/it/they ; but/and were/had the/its/there/it/they
    """),
    ("hypothetical", BEFORE, LINE, ". should the/its/this/that/these/there/a/an/any/you/it/@"),
    # --- other languages
    ("denied", BEFORE, CLAUSE, """
        nicht ; kein/keine/keinen/keiner/keinem/keines ; weder ; keineswegs ; niet ; geen ; noch een ; pas ;
        aucun/aucune
        ; jamais ; ni ; no es/e/est/son/se/hay/tiene/parece/veo ; ningún/ninguna/ningun ; tampoco ; non ; né ;
        nessun/nessuna/nessuno
        ; nao ; não ; nem ; nenhum/nenhuma ; inte ; ikke ; ingen/inget ; nie jest ; není ; değil ; nu este ;
        不 是 ; 并 非 ; 没 有 ; 不 像 ; 非 ; 未 见 ; 无 ; 不 属 于 ; 排 除 ; не ; нет ; без ; ни
    """),
    ("denied", BEFORE, PHRASE, """
        ohne ; sin ; senza ; sem ; zonder ; utan ; uden ; statt ; anstatt ; plutôt que ; au lieu d/de/du ; en lugar de
    """),
    ("denied", AFTER, CLAUSE, """
        で は な い ; で は あ り ま せ ん ; じ ゃ な い ; 이/가 아 닙 니 다 ; 이/가 아 니 ; नहीं ; nicht {end} ; ist
        es/das/dies nicht ; ist/wird/kann {adv}? ausgeschlossen ; est/sont exclu/exclue/exclus/exclues ;
        está/esta descartado/descartada
    """),
    ("uncertain", BEFORE, CLAUSE, """
        vielleicht ; möglicherweise ; eventuell ; könnte/könnten ; ob ; peut être ; pourrait ; possiblement ; quizá ;
        quizás ; tal vez ; podría ; forse ; potrebbe ; talvez ; poderia ; misschien ; может ; возможно ; 可 能 ;
        也 许 ; 或 许
    """),
    ("other", BEFORE, PHRASE, """
        ähnlich wie ; anders als ; im gegensatz zu/zum/zur ; im unterschied zu/zum/zur ; größer/kleiner als ;
        contrairement à/au/aux ; comme le/la/un/une ; a diferencia de/del ; a differenza di/del/della/dello ; más
        grande/pequeño que ; 不 同 于 ; 类 似 ; в отличие от
    """),
)  # fmt: skip


def _phrases(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(phrase.split()) for phrase in text.split(";") if phrase.strip())


MARKS = word_set(". ? , : ( )")
SENTENCE_ENDS = word_set(". ?")
CONJUNCTIONS = word_set(
    "but however although though whereas while yet because since so therefore thus hence consequently "
    "nevertheless nonetheless otherwise as rather which whose who despite instead "
    "sondern aber mais sino pero ma bensì maar \u0430 но"
)
"""What ends every scope, unless a trigger holds it."""
PREFIXES = frozenset(["non", "un"])
SUFFIXES = frozenset(["like", "free", "less", "as"])
"""Words that, joined by a hyphen to the one behind or before, are other tokens: "non-", "-like"."""
CONDITIONALS = frozenset(["would", "could", "might"])
CONTRASTS = frozenset(["but", "yet", "however", "although", "though"])
OPEN = word_set("sure certain could might may possibly maybe perhaps also unclear or whether not uncertain tell")
"""What, behind a contrast, keeps the matter open."""
RELATIVES = frozenset(["which", "who", "whose", "that", "where"])
VERBS = word_set(
    "is are was were has have had does do did can could will would may might must shows show showed looks look "
    "appears appear seems seem makes make means suggests suggest indicates indicate confirms confirm tells "
    "tell lacks gives give points point matches fits remains remain exhibits exhibit displays display features "
    "possesses possess leads rules excludes identifies helps supports describes resembles differs"
)
OPENERS = word_set("with has have having shows showing show displays displaying features featuring")
"""What opens a new phrase: a scope that runs backwards ends there."""
SUBJECTS = word_set("it this he she they i we you there these those")
DETERMINERS = word_set("a an the its their his her this that these those")
INDEFINITE = frozenset(["a", "an"])
JOINS = word_set(
    "of in on at to with for from by or nor and than as like not no any either neither , ( between over under"
)
"""Words behind which a determiner opens no new subject."""

ASKING = word_set(
    "is are was were do does did can could may might will would should has have what which who where when how why"
)
TAGS = word_set("is are was were do does did has have not right no correct yes true ok")
TAKEN_FOR_GRANTED = _phrases(
    """
    why is ; why this ; why it ; why a ; why an ; why the ; why do ; why am ; why are ; why @ ; how do ; how can
    ; how is ; how did ; how to ; what makes ; what shows ; what tells ; what identifies ; what supports ; how
    does
    """
)
YES = _phrases(
    """
    most likely . ; probably . ; likely . ; very likely . ;
    yes ; yeah ; yep ; indeed ; correct ; right ; certainly ; absolutely ; definitely ; exactly ; sure ; of
    course ; true ; it is . ; it does ; it certainly ; it is , ; it has . ; i think so
    ; i believe so ; it is indeed ; there is . ; positive ; affirmative ; """
)
NO = _phrases(
    """
    no ; nope ; not ; never ; negative ; wrong ; unlikely ; hardly ; it is not ; it does not ; i do not think ;
    i doubt ; none ; false ; absent ; there is not ; probably not ; neither ; it has not ; definitely not ;
    certainly not ; absolutely not ; of course not ; i do not see ; incorrect ; most likely not
    """
)
LIST_ENDS = CONJUNCTIONS | VERBS | SUBJECTS | OPENERS | SENTENCE_ENDS | {":", "(", ")"}
CLAUSE_STARTS = CONJUNCTIONS | VERBS | SUBJECTS | OPENERS | DETERMINERS
