import pytest

from seewhy.domain.drafting import requests
from seewhy.domain.questions import general_explanation, label_sentence, synthesis_prompt, takes_an

AN = """
    Owl|American Crow|orange|Indigo Bunting|Eagle|egret|hour|hourglass|honest man|honour guard|honor guard|heir
    heirloom|MD-11|F-16A/B|SUV|MRI scan|ECG|HIV|LED|RNA|mRNA|X-ray|x-ray|A330-200|A-10|An-12|ATR-72|E-170
    ERJ 135|EMB-120|FBI agent|L-1011|SR-20|nv|umbrella|Umbrella Bird|ulna|ulcer|upland sandpiper|urn|urchin
    uncle|uninhabited nest|unidentified warbler|unimportant|unillustrated|unripe|uneven|unusual|utter|usher
    Uzbek|8-spotted forester|8 ball|18-wheeler|11-spot ladybird|80s sofa|800 m|8,000|11,000|18000|1850s dress
    1100|8.5|84|onerous task|onion|ibis|eider|Écureuil|Übung|yttrium|Xbox|(orange) tip|"Owl"|'Apapane|ounce
    oystercatcher|Iiwi|Io moth|aye-aye|IPA|EMU
"""
A = """
    Crow|European|European Starling|Eurasian Wigeon|eucalyptus|Eucalyptus leaf|Euphonia|ewe|ewer|unicorn|Unicorn
    uniform|universal joint|union|unit|unique|unilateral|unidirectional|unimodal|unanimous|use|used car|usual
    utensil|utility pole|Utah raptor|uterus|uranium|urine|ureter|Ural Owl|ubiquitous|UFO|ufo|ukulele|Ukrainian
    Ulysses|uvula|Ugandan kob|UV lamp|U-boat|u-turn|UH-60|USB stick|one-banded duck|One-eyed crow|once|one
    Ouija board|yak|Yak-42|Yellow Warbler|young bird|house|heron|Hawk T1|hospital|honey|historic|hotel
    NASA rocket|HERON|MALLARD|RED FOX|FOX SPARROW|ROBIN|B-52|C-130|CRJ-200|DC-3|DH-82|DHC-1|PA-28|T-shirt|Tu-134
    MiG-15|Boeing 717|707-320|747|1-series|12|100|110|1800000|Mr Smith|St. Bernard|Dr Who|xylophone|Xenops|PhD
    TV|UTI|bcc|bkl|df|vasc|Zwergspitz|108|180|1000|118|7-spot ladybird|Fish Crow|Saab 2000|Spitfire|Metroliner
    quail|Wren|BAE 146-200
"""


def listed(text: str) -> list[str]:
    return [name.strip() for line in text.strip().splitlines() for name in line.split("|") if name.strip()]


@pytest.mark.parametrize("name", listed(AN))
def test_an(name: str):
    assert takes_an(name)
    assert label_sentence(name) == f"This is an {name}."


@pytest.mark.parametrize("name", listed(A))
def test_a(name: str):
    assert not takes_an(name)
    assert label_sentence(name) == f"This is a {name}."


@pytest.mark.parametrize("name", ["", "---", "犬"])
def test_a_name_that_english_does_not_spell(name: str):
    assert not takes_an(name)


def test_every_text_with_an_article():
    assert synthesis_prompt("MD-11", ["three engines"], "What is it?", "aircraft").startswith(
        "This aircraft is an MD-11."
    )
    assert general_explanation("European Robin", ["red breast"]).startswith("This is a European Robin.")


def test_the_noun_of_a_draft():
    for noun, expected in (("aircraft", "identifies an aircraft from"), ("bird", "identifies a bird from")):
        (request,) = requests(["X"], noun, 5)
        assert expected in str(request.messages[0]["content"])
