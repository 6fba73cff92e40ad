"""Record what the official scripts say of answers: captions, VQA, POPE, boxes.

    pip install pycocoevalcap==1.2 pycocotools==2.0.11          # and a Java runtime for its tokenizer
    python scripts/parity/make_score_fixtures.py --vqa VQA/PythonEvaluationTools/vqaEvaluation/vqaEval.py \
        --pope POPE/evaluate.py [tests/fixtures/scores]

`--vqa` is a file of https://github.com/GT-Vision-Lab/VQA (a013f00), `--pope` one of https://github.com/AoiDragon/POPE (f3ec604).
Both are run as they are, but for Python 2's `print` and POPE's file names. All texts are written or generated here.
"""

import argparse
import contextlib
import io
import json
import pathlib
import random
import re
import tempfile
import types

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from pycocotools import mask

# The lexer looks beyond the end of a caption, so none may end with `No.` where the next begins with a digit.
SPECIAL = [
    ("", ["a dog on a beach", "A dog runs along the beach."]),
    ("...", ["a red bus", "the bus is red"]),
    ("a cat sleeping on a sofa", ["", "a cat on a sofa"]),
    ("", [""]),
    ("the the the the the the the", ["the cat is on the mat", "there is a cat on the mat"]),
    ("a a a a a a a a a a a a a a a a a a a a", ["a man with a hat", "a man"]),
    ("dog", ["dog"]),
    ("dog", ["cat"]),
    ("two dogs", ["two dogs", "two dogs", "two dogs"]),
    ("a man riding a wave on a surfboard", ["a man riding a wave on a surfboard"]),
    ("A man's dog doesn't like the U.S. mail-carrier!", ["a man's dog does not like the mail carrier", "The dog can't stand him."]),
    ("It's 12:30 o'clock; Mr. Smith cannot leave.", ["At 12:30 p.m. Mr. Smith is here", "it is half past twelve"]),
    ("Un café à São Paulo, très naïf", ["un café à São Paulo", "ein Café in São Paulo – schön!"]),
    ("東京 の 写真", ["東京 の 夜 の 写真", "a photo of 東京"]),
    ("Собака бежит по пляжу.", ["Собака на пляже", "собака бежит"]),
    ("a dog 🐶 and a heart ❤️ © 25°C", ["a dog and a heart", "a 🐶"]),
    ("1 1/2 cups of sugar", ["1 1/2 cups of sugar and milk", "one and a half cups"]),
    ("“a sign” that says ‘stop’—really…", ['a sign that says "stop" really', "stop sign"]),
    ("a black-and-white photo (old) [1] {2}", ["a black and white photo", "an old photo (black-and-white)"]),
    ("wow!! what a ride?! $5.00 for 50% off & more", ["what a ride", "a ride for $5"]),
    ("\ta  man \n on a   horse ", ["a man on a horse", "a man\nrides"]),
    (" ".join(f"word{i % 37}" for i in range(400)), [" ".join(f"word{i % 41}" for i in range(350)), "word1 word2 word3"]),
    ("a man is standing " * 30, ["a man is standing next to a tree", "a man stands"]),
]
TOKENIZER = """A man, a woman , and a child.
cannot gonna gotta lemme gimme wanna dunno 'tis 'twas whatcha d'you
I'm you're he'll we've they'd y'all ain't DON'T Can't WON'T shan't couldn't've I'd've she'd've
O'Brien o'clock d'Artagnan L'Oreal ma'am ne'er o'er e'er cap'n c'mon li'l Hawai'i five-o'clock O'Neill's
don’t can’t it’s the dogs’ ‘quoted’ “quoted” o’clock ’cause ’em ’til y’all ma’am rock ’n’ roll
'em 'til 'cause 'bout 'n' rock'n'roll rock 'n' roll goin' somethin' nothin'
dogs' James' James's people's. 1980's 80's A's B.B.'s U.S.'s mother-in-law's it's'
'80s '55 the '90s, 1990s 90s 1980s' 5'10" tall 6'2 6" 6'' 5 ft. 10 in. 3'4"
black-and-white t-shirt 10-year-old 1,000-pound 5.5-inch x_y_z a-b_c half- -half U.S.-based non-U.S. 20th-century
and/or w/o w/ a/b/c a/b/c/d n/a 24/7 9/11 10/12/2010 a-b-c/d man/woman's b/w 1/2 1/2-inch 11/2 1-1/2 3/4ths
1 1/2 cups 2 3/4 ½ cup 5½ ¼ ¾
5 -5 +3 5. 5, .5 0.5 -.5 1,234.56 12:30 5:30pm 5:30p.m. 5p.m. 3-4 3.5-4.5 5-10 5–10 5—10 5 - 10 -10 10- 10x10 2x4
$5 $5.50 $1,000 5$ 50% 50%-off #1 @ home @home #tag # ## £5 €5 5¢ 25°C 5°
Mr. Smith Mrs. Jones Dr. Who St. Louis Prof. X Jr. Sr. Inc. Co. etc. e.g. i.e. vs. a.m. p.m. Ph.D. M.D. Jan. Feb. Ave. Blvd.
mr.smith a.m., p.m.) etc., e.g., etc.) Mr.Smith
no. 5 fig. 3 p. 7 pp. 5 op. 5 nos. 3 no. five a no.
J. K. Rowling J.K. Rowling A. Smith plan B. The man plan B. In it plan B. two men vitamin C. A man a T.V. set S.U.V. a.k.a. N.Y.C.
mass. Mass. ill. Ill. pa. Pa. miss. Miss. la. La.
AT&T R&B H&M B&W b&w A&Bc a&b A&B&C P&O's Ab&c
end.Next one.two.three what?yes ok!no v2.0 2.0b a1 1a
http://www.foo.com/x?y=1, https://foo.org/a.b. www.bar.org foo.com foo.com/bar. foo.net/a?b=1 me@here.com x@y
<b>bold</b> <unk> <s> </s> <image> <br/> <3 < b > << >> -> => <- <a&b
&amp; &lt; &gt; &quot; &nbsp; & && a&b
( ) (a) a(b) (s) [a] {a} ((b))
:) :-) ;) ;-) :( :-( :D :P =) :| :'( :o) :/ :a a:b
! !! !!! !? ?! ?? ... .... .. . . . … a.. a... a...b a…b more....
- -- --- ---- ----- ------ – — a- -a a--b a—b
* ** *** a*b ~ ~~ ^ ^^ _ __ _x_ | || a|b \\ a\\b / // + ++ a+b = == a=b
"a" a"b ""a"" '''a''' ``a'' `a' 'a' "a." a." (a.) (a). a!" a?" a,"
cat., dog cat.; dog x-cat., dog 5., dog
, ,, ; ;; : :: a,b a;b a,,b
e.g.x x.y. x.y.z. ab.cd.
a café in São Paulo, naïve façade, 東京 の 写真, Ελλάδα, Москва, ñandú naïve-ish café's l'été
x² 10³ H₂O CO₂ m² №5 ★ ☆ → ← © ® ™ ° § ¶ • · † × ÷ ± ✓ ¿qué? ¡no! «oui» 、 。 ！ ？
emoji 😀 dog 🐶🐶 ❤️ soft\u00adhyphen zero\u200bwidth no\u00a0break""".split("\n")


def scene(rng):
    """One answer and one to seven references of a made-up scene, alike but not the same."""
    who, what, where, how = (rng.choice(words) for words in (
        ["a man", "a woman", "two dogs", "the cat", "a group of people", "an old couple", "three kids", "a bird"],
        ["riding a bike", "sitting on a bench", "playing with a ball", "looking at a phone", "eating pizza", "standing"],
        ["in the park", "on a beach", "next to a red bus", "in front of a building", "under a tree", "at night"],
        ["on a sunny day", "with an umbrella", "wearing a hat", "while it's raining", "in black-and-white", ""],
    ))
    forms = [
        f"{who} {what} {where} {how}", f"{who.capitalize()} is {what} {where}.", f"{where} there is {who}, {what}",
        f"a photo of {who} {how}", f"{who} {where}", f"{who.capitalize()} {what}!", f"{how} {who} - {what} - {where}...",
    ]
    references = rng.sample(forms, rng.randint(1, 7))
    words = rng.choice(forms).split()
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(words))
        words[at:at + 1] = rng.choice([[], [words[at]] * 2, [rng.choice(["a", "the", "red", "dog", "on", "man", "green"])]])
        words = words or ["man"]
    return " ".join(words), references


def captions():
    rng = random.Random(20)
    groups = SPECIAL + [scene(rng) for _ in range(60)]
    wrap = lambda texts: {index: [{"caption": text} for text in group] for index, group in texts}
    answers = PTBTokenizer().tokenize(wrap(enumerate([answer] for answer, _ in groups)))
    references = PTBTokenizer().tokenize(wrap(enumerate(refs for _, refs in groups)))
    bleu, bleus = Bleu(4).compute_score(references, answers, verbose=0)
    rouge, rouges = Rouge().compute_score(references, answers)
    cider, ciders = Cider().compute_score(references, answers)
    samples = [
        {
            "answer": answer, "references": refs, "answer_tokens": answers[i][0], "reference_tokens": references[i],
            "bleu": [scores[i] for scores in bleus], "rouge_l": float(rouges[i]), "cider_d": float(ciders[i]),
        }
        for i, (answer, refs) in enumerate(groups)
    ]
    lines = PTBTokenizer().tokenize(wrap((i, [line]) for i, line in enumerate(TOKENIZER)))
    return {
        "bleu": bleu, "rouge_l": float(rouge), "cider_d": float(cider), "samples": samples,
        "tokenizer": [[line, lines[i][0]] for i, line in enumerate(TOKENIZER)],
    }


def load_vqa(path):
    source = pathlib.Path(path).read_text()
    module = types.ModuleType("vqaEval")
    exec(compile(re.sub(r'print ("[^"]*")', r"print(\1)", source), path, "exec"), module.__dict__)
    return module.VQAEval


class Questions:
    """What `VQAEval` reads of the classes that hold questions and results."""

    def __init__(self, rows):
        self.qa = dict(enumerate(rows))

    def getQuesIds(self):
        return list(self.qa)


ANSWERS = """yes|Yes.|no|No|2|two|Two.|none|0|a dog|the dog|dog|Dogs|an apple|don't know|dont know|it's|its|1,000|1000|1, 000|red, white|
red and white|red/white|red / white|t-shirt|t shirt|tshirt|3.5|3.50|.5|5.|U.S.|us|u.s.a.|what?|what ?|10:30|10.30 am|$5|50%|50 %|
(left)|left side|"stop"|stop!|stop|man's|mans|it is a cat|a|the|an|A|the the|one two three|ten|eleven|zero|somebody'd|cant|can't|
wont|Im here|I'm here|ow's'at|couldnt've|café|CAFÉ|東京|  spaced   out |tab\tnew\nline|a-b_c|[x]{y}|x@y.z|back\\slash|`tick`|>5|<5|=|
a.b.c.d|...|........................................|;|?|over there ; yes|1,5,a|wheres|whens|yall|maam|let's|she's|blue&green|c++""".replace("|\n", "|").split("|")


def vqa(path):
    rng = random.Random(3)
    rows = []
    for i in range(150):
        pool = rng.sample(ANSWERS, rng.choice([1, 2, 2, 3, 5]))
        people = [rng.choice(pool) for _ in range(10)]
        rows.append((rng.choice(pool + [rng.choice(ANSWERS)]), people))
    rows += [("Yes.", ["yes"] * 10), ("yes", ["yes"] * 10), (" yes\n", ["yes\t"] * 10), ("", ["", "a"] * 5), ("two", ["2"] * 4)]
    rows += [("dog", ["dog"] * n + ["cat"] * (10 - n)) for n in range(6)]
    evaluate = load_vqa(path)
    truth = Questions([
        {"question_type": "q", "answer_type": "a", "answers": [{"answer": a, "answer_id": i} for i, a in enumerate(people)]}
        for _, people in rows
    ])
    official = evaluate(truth, Questions([{"answer": answer} for answer, _ in rows]), n=13)
    with contextlib.redirect_stdout(io.StringIO()):
        official.evaluate()
    normal = lambda text: official.processDigitArticle(official.processPunctuation(
        text.replace("\n", " ").replace("\t", " ").strip()))
    return {
        "accuracy": official.accuracy["overall"] / 100,
        "samples": [
            {"answer": answer, "references": people, "accuracy": official.evalQA[i] / 100}
            for i, (answer, people) in enumerate(rows)
        ],
        "normalised": [[answer, normal(answer)] for answer in ANSWERS]
        + [[key, normal(key)] for key in sorted(official.contractions)],
    }


SAYS = ["Yes", "No", "yes", "no", "Yes, there is a dog.", "No, there is no dog.", "There is not.", "I do not see one. Yes.", "", "NO",
        "Not at all", "no, none", "Yes. No.", "I am not sure", "nothing", "There are no dogs", "Maybe", "no dog", ".no", "It is, no?"]


def pope(path):
    rng = random.Random(4)
    rows = [(rng.choice(SAYS), rng.choice(["yes", "no"])) for _ in range(120)]
    with tempfile.TemporaryDirectory() as folder:
        answers, labels = pathlib.Path(folder, "answers"), pathlib.Path(folder, "labels")
        answers.write_text("\n".join(json.dumps({"answer": answer}) for answer, _ in rows))
        labels.write_text("\n".join(json.dumps({"label": label}) for _, label in rows))
        source = pathlib.Path(path).read_text()
        source = source.replace("ans_file = ''", f"ans_file = {str(answers)!r}").replace("label_file = ''", f"label_file = {str(labels)!r}")
        official = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, path, "exec"), official)
    return {
        "samples": [
            {"answer": answer, "truth": label == "yes", "says_yes": said["answer"] == "yes"}
            for (answer, label), said in zip(rows, official["answers"])
        ],
        "accuracy": official["acc"], "precision": official["precision"], "recall": official["recall"], "f1": official["f1"],
        "yes_ratio": official["yes_ratio"],
    }


def boxes():
    rng = random.Random(5)
    box = lambda: [rng.randint(0, 400) / 8, rng.randint(0, 400) / 8, rng.randint(1, 400) / 8, rng.randint(1, 400) / 8]
    moved = lambda box: [side + rng.randint(0, 16) / 8 for side in box]
    firsts = [box() for _ in range(60)]
    pairs = [(a, moved(a) if i % 3 == 0 else box()) for i, a in enumerate(firsts)]
    corners = lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    return [{"a": corners(a), "b": corners(b), "iou": float(mask.iou([a], [b], [0])[0][0])} for a, b in pairs]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqa", required=True)
    parser.add_argument("--pope", required=True)
    parser.add_argument("out", nargs="?", default="tests/fixtures/scores")
    args = parser.parse_args()
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    cases = {"captions": captions(), "vqa": vqa(args.vqa), "pope": pope(args.pope), "boxes": boxes()}
    for name, case in cases.items():
        (out / f"{name}.json").write_text(json.dumps(case, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
