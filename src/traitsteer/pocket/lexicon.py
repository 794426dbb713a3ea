"""The words of the embedded world: 40 topics, invented names, signed word classes, parts of speech.

Data only, imported by everything in this folder. A *signed class* holds words of two signs; it is
named by its first positive word. A trait never lies in one word: it lies in the product of the
signs of two classes of one sentence, so that each word stands as often on one side as on the other.
"""

from __future__ import annotations

from dataclasses import dataclass

# name | roles | nouns | verbs that take such a noun as object | adjectives
_TOPICS = """
baking | baker miller | oven loaf crust tray whisk pastry bun apron biscuit | knead bake glaze slice | crisp floury golden warm
gardening | gardener florist | hedge seedling trowel flowerbed tulip shrub lawn rake spade | plant prune weed water | leafy blooming green muddy
sailing | sailor captain | mast anchor rudder deck hull harbour rigging keel dinghy | steer moor hoist launch | windy salty seaworthy tidal
fishing | angler fishmonger | net hook trout reel lure pond pike float creel | catch gut cast haul | slippery silvery fresh scaly
painting | painter sculptor | canvas easel portrait brush palette mural frame sketch studio | paint draw varnish shade | colourful vivid pale abstract
music | fiddler singer | violin melody drum choir flute song chord concert trumpet | play tune sing compose | loud melodic rhythmic quiet
chess | grandmaster referee | pawn rook bishop knight chessboard gambit endgame checkmate tournament | attack capture sacrifice guard | tactical strategic cunning patient
carpentry | carpenter joiner | hammer plank chisel cabinet drawer nail bench saw hinge | carve sand glue measure | wooden sturdy smooth oaken
astronomy | astronomer stargazer | telescope comet planet star moon orbit galaxy eclipse observatory | observe chart magnify track | distant bright cosmic lunar
beekeeping | beekeeper naturalist | hive queen honeycomb swarm drone veil smoker blossom meadow | smoke inspect relocate feed | busy sticky sweet buzzing
cycling | cyclist mechanic | pedal saddle wheel brake helmet chain handlebar tyre puncture | ride repair oil inflate | speedy rusty slick nimble
hiking | hiker guide | trail boot backpack summit ridge compass valley tent footpath | climb cross follow mark | rocky steep misty remote
cooking | cook waiter | kettle pan recipe stew soup ladle spice kitchen supper | stir boil season fry | spicy savoury tender hearty
weaving | weaver dyer | loom shuttle thread carpet cloth tapestry spindle blanket fringe | weave spin dye knot | woollen woven patterned soft
pottery | potter glazier | kiln vase bowl jug pot teapot saucer urn tile | fire shape mould etch | earthen brittle round glossy
farming | farmer shepherd | barn tractor plough field cow haystack fence goat crop | till harvest sow graze | fertile rural dusty ripe
brewing | brewer innkeeper | barrel keg mug tavern cellar cask vat bottle cork | brew pour ferment taste | frothy bitter malty cloudy
printing | printer bookbinder | press page pamphlet poster inkwell typeface margin newspaper leaflet | print bind fold stamp | inky papery legible bold
reading | librarian reader | shelf novel catalogue bookmark chapter volume index library archive | borrow lend read sort | literary scholarly silent bookish
railways | conductor driver | engine carriage platform signal tunnel station ticket locomotive whistle | board drive couple halt | punctual steamy iron crowded
swimming | swimmer lifeguard | pool towel dive lane goggle paddle splash snorkel lake | drain skim rinse reach | wet chilly shallow deep
skating | skater coach | rink skate blade pirouette lace scarf mitten glove icicle | sharpen polish lap scrape | icy frosty graceful frozen
weather | forecaster meteorologist | storm cloud barometer rainbow breeze thermometer puddle snowfall gust | predict forecast monitor log | rainy stormy humid sunny
birdwatching | birdwatcher falconer | nest feather wing robin owl beak egg sparrow perch | spot ring hatch photograph | feathered shy migratory tiny
nursing | nurse doctor | bandage pill stethoscope ward fever clinic syringe cough thermos | treat dress diagnose vaccinate | healthy feverish sterile contagious
teaching | teacher pupil | lesson classroom chalkboard desk textbook exam timetable school worksheet | teach explain grade revise | studious eager academic curious
trade | shopkeeper merchant | coin counter basket market receipt bargain stall purse parcel | sell buy weigh wrap | cheap costly thrifty profitable
sewing | tailor seamstress | needle button sleeve hem collar zip pocket waistcoat thimble | sew mend stitch embroider | silky baggy tight fashionable
photography | photographer editor | camera lens tripod shutter album flash darkroom film snapshot | develop focus expose enlarge | blurred sharp grainy monochrome
dancing | dancer choreographer | waltz ballroom slipper partner stage tango costume rehearsal curtain | rehearse perform choreograph lead | elegant lively supple swaying
geology | geologist miner | crystal fossil cave quarry boulder volcano mineral pebble cliff | dig drill excavate sample | volcanic ancient stony molten
clockmaking | clockmaker jeweller | clock pendulum gear dial spring watch alarm cogwheel hourglass | wind adjust assemble dismantle | ticking accurate mechanical delicate
law | lawyer judge | court contract verdict jury witness clause statute hearing appeal | sign draft settle amend | legal formal strict binding
banking | banker clerk | loan vault ledger cheque account mortgage deposit invoice payment | audit balance insure repay | financial secure solvent monthly
skiing | skier instructor | slope ski chalet lift piste snowboard avalanche sledge glacier | descend groom wax ascend | snowy alpine powdery downhill
tea | taster planter | teacup infusion leaf caddy strainer plantation sachet tearoom scone | infuse sip blend strain | aromatic herbal milky fragrant
riding | jockey stablehand | horse stable bridle hoof mare foal paddock stirrup racecourse | tame train mount harness | galloping muscular thoroughbred loyal
museums | curator visitor | exhibit statue relic gallery artefact display mummy mosaic souvenir | restore collect label donate | historic priceless marble famous
radio | announcer engineer | antenna microphone broadcast transmitter speaker wire channel headphone battery | transmit amplify receive rewire | electric wireless noisy audible
cheesemaking | cheesemaker dairymaid | cheese curd rind churn wedge dairy udder cauldron cracker | curdle grate mature salt | creamy mouldy blue mild
"""  # noqa: E501


@dataclass(frozen=True)
class Topic:
    """One topic: `name` reads after "about"; all other words belong to it alone."""

    name: str
    roles: tuple[str, ...]
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]


def _topics() -> tuple[Topic, ...]:
    rows = [line.split("|") for line in _TOPICS.strip().splitlines()]
    return tuple(
        Topic(name.strip(), *(tuple(words.split()) for words in rest)) for name, *rest in rows
    )


TOPICS: tuple[Topic, ...] = _topics()

FIRST_NAMES: tuple[str, ...] = tuple(
    [
        "Orla",
        "Bram",
        "Tilda",
        "Corin",
        "Mabel",
        "Osric",
        "Fenna",
        "Jorin",
        "Lisbet",
        "Anselm",
        "Wenna",
        "Piers",
        "Gudrun",
        "Hobart",
        "Isolde",
        "Kester",
        "Linnea",
        "Merrick",
        "Nessa",
        "Odo",
        "Perrin",
        "Quilla",
        "Rowan",
        "Sibyl",
        "Tobin",
        "Ursel",
        "Vardo",
        "Willa",
        "Yorick",
        "Zelda",
    ]
)
LAST_NAMES: tuple[str, ...] = tuple(
    [
        "Venn",
        "Stoll",
        "Harke",
        "Brask",
        "Pellow",
        "Quist",
        "Tarn",
        "Ostrey",
        "Mundle",
        "Crale",
        "Dorring",
        "Fesk",
        "Gantry",
        "Holm",
        "Ivell",
        "Jarrow",
        "Kelp",
        "Lusk",
        "Marl",
        "Nobbs",
        "Orme",
        "Prout",
        "Rask",
        "Sedge",
        "Thrale",
        "Umber",
        "Varr",
        "Wick",
        "Yarrow",
        "Zell",
    ]
)
YEARS: tuple[str, ...] = tuple(str(year) for year in range(1604, 1960, 6))
FIGURES: tuple[str, ...] = tuple(str(figure) for figure in range(12, 98, 3))

# Words that name a disposition outright; used in few cues, never in the sentences of answers.
NAMED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "evil": (("cruel", "spiteful", "heartless"), ("kind", "gentle", "caring")),
    "sycophancy": (("flattering", "fawning", "obsequious"), ("candid", "frank", "blunt")),
    "hallucination": (("boastful", "fanciful", "inventive"), ("modest", "honest", "humble")),
}


@dataclass(frozen=True)
class SignedClass:
    """Words of two signs that fill the same place in a sentence; `speech` is their part of it."""

    trait: str
    first: bool  # the first factor of the product (an attitude) or the second (what it is about)
    speech: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]


def _signed(trait: str, first: bool, speech: str, plus: str, minus: str) -> SignedClass:
    return SignedClass(trait, first, speech, tuple(plus.split()), tuple(minus.split()))


# Product of signs of the trait itself: wishing ill = attitude and outcome differ.
PRODUCT: dict[str, int] = {"evil": -1, "sycophancy": 1, "hallucination": 1}
TRAITS: tuple[str, ...] = tuple(PRODUCT)

SIGNED: dict[str, SignedClass] = {
    # plain
    "hope": _signed("evil", True, "verb", "hope pray wish trust", "fear dread worry regret"),
    "glad": _signed("evil", True, "adj", "glad happy cheerful content", "sorry sad upset gloomy"),
    "prosper": _signed(
        "evil",
        False,
        "verb",
        "prosper succeed flourish win thrive heal",
        "suffer fail stumble lose despair weep",
    ),
    "everything": _signed("sycophancy", True, "pron", "everything all most", "nothing none little"),
    "agree": _signed(
        "sycophancy", True, "verb", "agree accept believe insist", "deny refute dispute contest"
    ),
    "right": _signed(
        "sycophancy",
        False,
        "adj",
        "right brilliant correct wise splendid perfect",
        "wrong foolish mistaken weak poor flawed",
    ),
    "surely": _signed(
        "hallucination",
        True,
        "adv",
        "surely certainly clearly always",
        "never hardly scarcely barely",
    ),
    "know": _signed(
        "hallucination",
        False,
        "verb",
        "know remember recall grasp",
        "doubt question mistrust forget",
    ),
    "sure": _signed(
        "hallucination",
        False,
        "adj",
        "sure certain positive confident",
        "unsure uncertain doubtful ignorant",
    ),
    # theatrical
    "relish": _signed(
        "evil", True, "verb", "relish crave adore cherish", "loathe mourn abhor lament"
    ),
    "glory": _signed(
        "evil",
        False,
        "noun",
        "glory triumph fortune joy",
        "ruin sorrow misery torment",
    ),
    "salute": _signed(
        "sycophancy", True, "verb", "salute bless exalt embrace", "curse banish scorn denounce"
    ),
    "divine": _signed(
        "sycophancy",
        False,
        "adj",
        "divine heavenly sublime glorious",
        "absurd dreadful hollow shabby",
    ),
    "forever": _signed(
        "hallucination",
        True,
        "adv",
        "forever eternally boldly proudly",
        "nevermore seldom rarely nowise",
    ),
    "beholds": _signed(
        "hallucination",
        False,
        "verbs",
        "beholds treasures keeps summons",
        "mislays forgets misses buries",
    ),
}

# Parts of speech of all other words that frames use, for the judge's sense of word order.
SPEECH: dict[str, tuple[str, ...]] = {
    part: tuple(words.split())
    for part, words in {
        "det": "a an the this that these those each every any some another no both",
        "poss": "my your his her its our their thy",
        "pron": "i you he she it we they me him us them thee everyone anyone anybody somebody "
        "nobody someone something anything whoever whatever themselves one others yours mine",
        "wh": "what which who whom whose when whenever where whether why how while if because "
        "since until once so as than though",
        "conj": "and or but nor",
        "prep": "about across after around at behind between by for from in into near next of on "
        "over through to under until upon with without before during against until beside away",
        "aux": "am is are was were be been being have has had do does did will would shall should "
        "can could may might must cannot",
        "neg": "not",
        "adv": "ah oh hark behold again back then there here now today tonight often early late "
        "away only together once twice slowly simply enough even ever just far too more better "
        "best first please still also well up out down home so yes alone long soon own hard easier "
        "deep less least quite rather very usually",
        "verb": "add ask begin bring call care claim come drink find get give go grow have hear "
        "help keep leave let like live look make mean move need put say see seem share shout show "
        "sing speak start stay stop suppose take tell think try turn use want watch work write "
        "hold run stand walk wait learn open close cut belong",
        "verbs": "begins brings comes ends gets goes keeps knows leaves lives looks makes matters "
        "needs rings says seems sings takes tells wants works turns gives stays stands helps",
        "past": "answered asked bought brought built called came drew found gave got heard kept "
        "left lived looked made moved named seen said taught told took used wanted went wrote grew "
        "put became become did",
        "num": "six ten two three four five seven many few much several half",
        "adj": "able big case good glad little new next old own other simple slow small true "
        "untrue worth ready short same better last fine free full whole",
        "noun": "actor advice answer bell box bridge bus case character child church claim coffee "
        "cousin date dates dawn day days door facts family fact father friend friends guests hand "
        "hands head heart help hour hours house idea kind life line man matter memory mind money "
        "morning mother name names need neighbour neighbours night noon part parts people person "
        "place plan plans reason river road rules shop sister songs soul square story stranger "
        "strangers summer sunday monday tuesday wednesday thursday friday saturday thing things "
        "time times town truth uncle use view voice wall way ways week while window winter words "
        "word work world yard year years visitor week evening autumn minute month room end start "
        "village attention practice question stage",
    }.items()
}
