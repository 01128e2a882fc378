"""Groups of words that show what an answer demands: an unseen word has the weight of its group.

Written from the rubric (scripts/routing/RUBRIC.md): its demands, its one-step tasks, and its known
methods. A word counts by its first letters; two words are neighbours. English first, then German,
French, Spanish and Italian, without their accents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STEM: Final = 6  # letters: "design", "designs" and "designing" are one

_GROUPS: Final[Mapping[str, str]] = {
    # Demands that make a task complex.
    "proof": """prove proof disprove derive derivation theorem lemma corollary conjecture rigorous
        rigorously deduce contradiction counterexample induction irrational uncountable necessary
        sufficient bound bounds bounded converge converges convergence axiom axioms closed_form
        show_that if_and first_principles beweise beweis zeige herleiten leite_die demontre montre
        demontrer prouve prouver demuestra demostrar dimostra dimostrare widerlege""",
    "design": """design architect architecture devise architecting propose_a conceive blueprint
        redesign strategy strategies mechanism protocol framework entwirf entwerfen konzipiere
        concois concevoir disena disenar diseno progetta progettare""",
    "scale": """distributed replica replicas replicated replication failover sharding shard shards
        region regions consensus concurrent concurrency throughput latency scalable fault tolerant
        tolerance availability idempotent exactly_once partition partitions million millions
        billion billions terabyte petabyte zero_downtime downtime multi quorum consistency""",
    "symptom": """intermittent intermittently sometimes sporadic sporadically randomly occasionally
        flaky deadlock deadlocks race leak leaks leaking corrupt corrupted corruption stale drift
        drifts diverge diverges hang hangs stuck freezes duplicate duplicates twice lost vanish
        vanishes vanishing disappear disappears disappearing spikes spike regression segfault nan
        nans only_on only_when only_under under_load every_few once_a since_the after_the root
        cause causes mysterious mysteriously unexplained manchmal sporadisch parfois veces""",
    "constraint": """constraint constraints subject_to at_most at_least no_more no_one nobody must
        cannot can't may_not never without within except unless exactly minimise minimize maximise
        maximize optimal optimally optimise optimize optimum allocate allocation schedule roster
        rota timetable seating assign capacity capacities budget feasible trade dependencies
        simultaneously dienstplan stundenplan""",
    "conflict": """disagree disagrees conflict conflicts conflicting contradict contradicts
        contradictory contradiction inconsistent reconcile rival competing opposing weigh weighing
        tension tensions dispute disputed paradox dilemma stakeholders position defend verdict
        adjudicate incompatible irreconcilable widersprechen abwaegen""",
    "stakes": """patient diagnosis differential dose dosage mg renal kidney hepatic creatinine
        potassium warfarin insulin pregnant weeks_pregnant infarction sepsis liable liability
        negligence clause enforce enforceable jurisdiction court sue lawsuit indemnity insolvency
        insolvent covenant covenants fiduciary statute custody dismissed whistleblower visa
        sanctions tax taxes taxation residency vesting trust heirs inheritance antitrust merger
        acquisition regulator compliance gdpr hipaa exposure allergic contraindicated""",
    "obligation": """lock lockfree lock_free wait_free linearizable atomic invariant invariants
        allocator compiler interpreter parser scheduler solver optimizer garbage collector verifier
        kernel raft paxos crdt crdts mvcc isolation transaction transactions amortised amortized
        complexity asymptotic np polynomial worst_case unification inference backtracking
        incremental crash durable durability cryptographic zero_knowledge real_time""",
    "chain": """puzzle riddle knights liar liars prisoners expected variance probability equilibrium
        game_theory strategy_for winning optimal_play recurrence integer_solutions diophantine
        modulo primes combinatorial counting multi_period scenario scenarios sensitivity monte
        simulate simulation bayesian posterior estimator identification confounding causal""",
    "depth": """rigorously thoroughly critically assumptions justify justification implications
        limitations threats validity failure modes edge_cases adversary adversarial attack attacks
        threat sequencing contingency rollback residual second_order steelman evidence
        comprehensive end_to""",
    "solve": """diagnose reconstruct disentangle decide determine assess estimate investigate
        track_down find_out work_out figure_out resolve infer negotiate restructure recover harden
        refute formulate unravel audit forecast hedge value model_the reverse_engineer decipher
        retrieve detect_whether attribute allocate adjudicate construct classify_all characterise
        ermittle bestimme untersuche finde_die trouve_la resuelve""",
    "odd": """only though although yet despite even_though weird odd strange unexpected suddenly
        mysteriously without_any nobody_knows no_one_knows same_config no_change not_in but_not
        nur_bei nur_wenn obwohl seulement solo_cuando aunque""",
    "case": """may_we may_i may_the can_they who_owes who_is_liable entitled valid_if lawful claims
        contract lease employer tenant landlord supplier buyer seller bankrupt default clause
        agreement deadline notice fever pain blood pressure surgery symptoms elevated chronic acute
        allergic history elderly year_old mieter vermieter kuendigung klausel bail contrat""",
    "plan": """migrate migration relocate cutover sequence rollout restructure merger consolidate
        closure decommission transition turnaround launch route routing rota calendar fixtures
        timetabling seating_plan bin_packing knapsack shifts constraints""",
    # Known methods with judgement.
    "why": """why explain explanation how_does how_do how_come reason reasons intuition intuitively
        happens warum wieso erklaere erklare erklaer pourquoi explique explica porque perche
        spiega""",
    "compare": """compare comparison versus vs contrast difference differ pros cons advantages
        disadvantages drawbacks benefits better best prefer choose recommend recommendation suggest
        worth should_i should_we vergleiche vorteile nachteile avantages inconvenients ventajas
        desventajas comparer""",
    "craft": """write draft compose essay article story poem sonnet speech toast letter pitch blog
        newsletter cover proposal report guide tutorial lesson plan outline script scene dialogue
        schreibe verfasse redige ecris escribe scrivi""",
    "several": """and_say say_why say_what with_reasons give_reasons and_explain and_why each
        one_for both three four five two_versions for_each in_order rank ranked prioritise
        prioritize mark flag note_any table step_by with_an with_tests with_examples keep_the""",
    "coding": """function class method script query endpoint component test tests unit refactor
        implement code python javascript typescript java rust golang sql bash docker dockerfile
        terraform react pandas regex api json csv loop bug debug exception""",
    "figures": """calculate compute solve integrate differentiate derivative integral equation
        interest rate percent average median regression significance matrix triangle volume area
        speed distance berechne calcule calcula calcola""",
    "advise": """tips ideas advice improve improvement help_me what_should what_can what_to how_can
        how_to likely possible options approach checklist prepare manage handle""",
    # One step away.
    "fact": """what_is what's what_are what_does who when where which capital define definition
        meaning mean stand stands_for how_many how_much how_old how_long how_far how_tall name is_it
        is_the was_ist wer wann wo wie_viele wie_heisst quel quelle quelles qui quand combien que_es
        cual cuantos cuanto quien donde cuando qual quanto quanti chi quando""",
    "mechanical": """translate convert extract list copy count sort reverse rename replace remove
        capitalise capitalize uppercase lowercase alphabetical alphabetically round format indent
        spell spelling punctuation comma commas label classify categorise categorize tag detect
        pick choose_one find_the fill pull give_me only_the just_the nothing_else fix_the correct
        rewrite_in turn_into put_this shorten synonym synonyms antonym plural uebersetze ubersetz
        traduis traduire traduce traducir traduci extrahiere extrais extrae nur_die""",
    "small": """caption headline title subject hashtag hashtags haiku limerick slogan tagline joke
        greeting birthday thank_you reply sentence line word words one_line one_word one_sentence
        short brief tl tldr gist bullets bullet_points yes_or yes_no true_or spam positive negative
        neutral sentiment titel phrase mot frase""",
    "chat": """hi hello hey thanks thank bye good_morning goodnight please_help hallo bonjour hola
        ciao merci danke gracias lol haha ok okay""",
    "desk": """my_order my_account my_card my_password reset password refund return delivery parcel
        package subscription cancel invoice login log_in sign_in opening hours customer number
        email_address address app settings button menu update shipping size stock voucher code_is
        rechnung passwort bestellung facture commande compte factura pedido cuenta""",
}


def _by_stem() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for group, words in _GROUPS.items():
        for word in dict.fromkeys(words.split()):
            stem = " ".join(part[:STEM] for part in word.split("_"))
            if group not in found.setdefault(stem, []):
                found[stem].append(group)
    return {stem: tuple(groups) for stem, groups in found.items()}


# A stem, or two with a space between, to the groups it is in.
GROUPS_OF: Final[Mapping[str, tuple[str, ...]]] = _by_stem()
