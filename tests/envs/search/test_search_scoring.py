"""The rules say yes to the same answer in other words, and no to another of its kind."""

import pytest

from envs.search.answer import extract_answer
from envs.search.comparing import f1, normalised
from envs.search.scoring import score_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris", "Paris"),
        ("So it is.\nAnswer: Paris", "Paris"),
        ("My answer: Paris", "Paris"),
        ("Answer: Rome\nNo, wait.\n**Final Answer:** Paris\n", "Paris"),
        ("**Answer**: **Paris**", "Paris"),
        ("### Answer:\n\nParis\nand more", "Paris"),
        ("Thus <answer> Paris </answer> it is", "Paris"),
        ("<answer>Rome</answer> ... <answer>Paris", "Paris"),
        ("\\boxed{Rome} or \\boxed{\\text{Paris}}", "Paris"),
        ("Answer: \\boxed{a {b} c}", "a {b} c"),
        ("<answer>Answer: Paris</answer>", "Paris"),
        ("<think>Answer: Rome</think>The answer is Paris", "Paris"),
        ("<think>Answer: Rome", ""),
        ("Answer: Rome, or not</think>Paris", "Paris"),
        ("The question asks for an answer: I found none.\nAnswer: Paris", "Paris"),
        ("答え\nanswer：東京", "東京"),
        ('Answer: "Paris"', "Paris"),
        ("Answer:", ""),
        ("", ""),
    ],
)
def test_the_last_marked_answer_counts(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


SAME = [
    ("the beatles!", "The Beatles"),
    ("Melanie Watt", "Mélanie Watt"),
    ("Hank Williams Jr", "Hank Williams, Jr."),
    ("USA", "U.S.A."),
    ("rock'n'roll", "rock’n’roll"),
    ("two time", "two-time"),
    ("6960", "6,960"),
    ("150,000,000", "150 million"),
    ("0.15 billion people", "150 million"),
    ("twenty-one", "21"),
    ("three hundred and five", "305"),
    ("$5.5 million", "5,500,000 dollars"),
    ("40%", "40 percent"),
    ("42", "42 miles"),
    ("June 8, 1951", "8 June 1951"),
    ("8th of June, 1951", "8 June 1951"),
    ("1951-06-08", "8 June 1951"),
    ("6/28/1951", "28 June 1951"),
    ("Jun 1951", "June 1951"),
    ("Yes, both are.", "yes"),
    ("No", "no"),
    ("C++", "c++"),
    ("東京", "東京"),
    ("A", "a"),
    ("-5", "−5"),
    ("−5.0", "-5"),
    ("minus five", "-5"),
    ("1 000", "1000"),
    ("1\u202f000", "1,000"),
    ("1,500 people", "1,500"),
    ("1500", "1,500 people"),
    ("5000 people", "5000"),
    ("$1,500", "1500"),
    ("US$5 million", "$5 million"),
    ("$5 million dollars", "5 million US dollars"),
    ("$1.2bn", "$1.2 billion"),
    ("£5", "5 pounds"),
    ("5 lb", "5 pounds"),
    ("¥100", "100 yen"),
    ("about 6,960", "6,960"),
    ("a hundred", "100"),
    ("three thousand four hundred and five", "3405"),
    ("Nineteen Eighty-Four", "1984"),
    ("10^6", "10⁶"),
    ("CO2", "CO₂"),
    ("Friday, June 8, 1951", "8 June 1951"),
    ("8th June", "June 8"),
    ("2001-09", "September 2001"),
    ("2001年9月", "September 2001"),
    ("1234.50", "1234.5"),
    ("1951-06-08T00:00:00Z", "8 June 1951"),
    ("1951年6月8日", "8 June 1951"),
    ("Yes, there is no doubt that both are.", "yes"),
    ("Yes (both are)", "yes"),
    ("**Yes**, both are", "yes"),
    ("No, they are not; yes would be wrong", "no"),
    ("Lodz", "Łódź"),
    ("Soren", "Søren"),
    ("J. R. R. Tolkien", "J.R.R. Tolkien"),
    ("JRR Tolkien", "J R R Tolkien"),
    ("Л. Н. Толстой", "Л.Н. Толстой"),
    ("Rock and Roll", "Rock & Roll"),
    ("दिल", "दिल"),
    (".5", "0.5"),
    ("$.50", "$0.5"),
    ("−.5", "-0.5"),
    (".5 million", "500,000"),
    ("...5", "5"),
    (".NET", "NET"),
    ("vitamin A", "Vitamin A"),
    ("محمد", "مُحَمَّد"),
]

DIFFERENT = [
    ("The Rolling Stones", "The Beatles"),
    ("New York", "New York City"),
    ("Hank Williams, Sr.", "Hank Williams, Jr."),
    ("6,961", "6,960"),
    ("150 billion", "150 million"),
    ("150", "150 million"),
    ("twenty-two", "21"),
    ("40 km", "40 miles"),
    ("1984 games", "1984"),
    ("9 June 1951", "8 June 1951"),
    ("8 July 1951", "8 June 1951"),
    ("8 June 1952", "8 June 1951"),
    ("June 1951", "8 June 1951"),
    ("1951", "8 June 1951"),
    ("8 June 1951", "1951"),
    ("06/08/1951", "8 June 1951"),
    ("yes", "no"),
    ("no, that is, yes", "no"),
    ("No Doubt", "no"),
    ("yes and no", "yes"),
    ("50", "50 Cent"),
    ("C", "C++"),
    ("C#", "C"),
    ("5", "-5"),
    ("Paris or Rome", "Paris"),
    ("大阪", "東京"),
    ("19th century", "20th century"),
    ("Studio 34", "Studio 33"),
    ("1.5", "15"),
    (".5", "5"),
    ("$.50", "$50"),
    ("-.5", "-5"),
    (".5 million", "5 million"),
    ("hepatitis", "Hepatitis A"),
    ("Vitamin A", "vitamin"),
    ("The", "The The"),
    ("1,2", "12"),
    ("!", "?"),
    ("$5 million", "€5 million"),
    ("£5", "$5"),
    ("40%", "$40"),
    (">5", "<5"),
    ("5 lb", "£5"),
    ("one two three", "6"),
    ("five and three", "8"),
    ("nineteen eighty-four", "103"),
    ("thousand million", "1,001,000"),
    ("10⁶", "106"),
    ("10^-6", "10^6"),
    ("10⁻⁶", "10⁶"),
    ("2½", "212"),
    ("x=1", "x=-1"),
    ("A-", "A"),
    ("O-", "O+"),
    ("June 8", "July 8"),
    ("June 8", "8 June 1951"),
    ("2001-09", "2001-08"),
    ("May 1999", "1999.5"),
    ("दिल", "दाल"),
    ("की", "के"),
    ("กิน", "กัน"),
    ("が", "か"),
    ("No-one", "no"),
    ("No. 5", "no"),
    ("Yes, no.", "yes"),
]


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_the_same_in_other_words_is_right(answer: str, gold: str) -> None:
    score = score_answer(f"Answer: {answer}", [gold])
    assert (score.value, score.verdict) == (1.0, "right")


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_another_of_its_kind_is_wrong(answer: str, gold: str) -> None:
    score = score_answer(f"Answer: {answer}", [gold])
    assert (score.value, score.verdict) == (0.0, "wrong")


@pytest.mark.parametrize("said", ["", "Answer:", "I don't know.", "Answer: unknown", "cannot be determined", "N/A"])
def test_no_answer_is_its_own_verdict(said: str) -> None:
    assert score_answer(said, ["Paris"]).verdict == "no_answer"


def test_any_alias_is_right_and_the_words_tell() -> None:
    assert score_answer("Answer: NYC", ["New York City", "NYC"]).words == "'NYC' equals 'NYC' as text"
    wrong = score_answer("Answer: York City", ["New York City", "NYC"])
    assert wrong.words == "'York City' is not 'New York City' or 'NYC'; F1 0.80"


def test_saying_nothing_is_never_right() -> None:
    assert score_answer("", ["", "Paris"]).verdict == "no_answer"


def test_f1_is_squads() -> None:
    assert f1("the cat sat", "a cat") == pytest.approx(2 / 3)
    assert (f1("dog", "cat"), f1("Cat.", "the cat")) == (0.0, 1.0)


def test_normalised_keeps_what_tells_apart() -> None:
    assert normalised(" The  Ünited-States (of) “America” 6,960.5 C++ #1 ") == "united states of america 6960.5 c++ 1"


@pytest.mark.parametrize(
    "text",
    [
        "x" * 200_000,
        "<think>" * 5000,
        "\\boxed{" * 5000,
        "Answer: " * 20_000,
        "**" * 50_000,
        "9" * 5000,
        "-" * 9000,
        "one " * 5000,
        "no " * 50_000,
        "a." * 50_000 + "$" * 50_000,
        "a " * 50_000,
        "yes" + " " * 100_000 + "no",
    ],
)
def test_a_hostile_answer_is_scored_all_the_same(text: str) -> None:
    assert score_answer(text, ["Paris", "12", "8 June 1951"]).value == 0.0
