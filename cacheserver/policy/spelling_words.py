"""Common English words, and real words that are one slip from one of them.

Written by `scripts/list_spelling` from SCOWL (see NOTICE). Do not edit by hand.
"""

from __future__ import annotations

COMMON = """
aardvark abandon abandoned abandoning abandons abbreviate abbreviated abbreviates abbreviating
abbreviation abbreviations abilities ability abnormal abnormally abolish abolished abolishes
abolishing abolition aborted aborting abortion aborts abroad absence absent absolute absolutely
absorb absorbed absorbing absorbs abstract abstraction absurd abused abuses abusing abusive abysmal
academic academics accelerate accent accents accept acceptable acceptance accepted accepting
accepts access accessed accesses accessible accessing accident accidental accidentally accidents
accommodate accommodation accompanied accompanies accompany accompanying accomplish accomplished
accomplishes accomplishing accord accordance accorded according accordingly accords account
accountant accountants accounted accounting accounts accumulate accumulated accumulates
accumulating accuracy accurate accurately accusation accusations accuse accused accuses accusing
accustom accustomed accustoming accustoms achieve achieved achievement achievements achieves
achieving acknowledge acknowledged acknowledges acknowledging acoustic acquaintance acquire
acquired acquires acquiring acquisition acronym acronyms across acting action actions activate
activated activates activating active actively activities activity actors actual actually
adaptation adapted adapter adapting adaptor adapts addict addicted addicting addictive addicts
adding addition additional additionally additions address addressed addresses addressing adequate
adequately adhere adhered adheres adhering adjacent adjective adjust adjusted adjusting adjustment
adjustments adjusts administer administered administering administers administration administrative
admirable admiration admire admission admits admitted admittedly admitting adopted adopting
adoption adopts adults advance advanced advances advancing advantage advantageous advantages advent
adventure adventures adventurous adverse adversely advert advertise advertised advertisement
advertisements advertises advertising adverts advice advisable advise advised adviser advisers
advises advising advisor advisors advisory advocate advocated advocates advocating aerial aesthetic
aesthetically affair affairs affect affected affecting affection affects afford aforementioned
afraid afternoon afternoons afterward afterwards against ageing agency agenda agents aggressive
agreed agreeing agreement agreements agrees agricultural aiding aiming aircraft airport alarmed
alarming alarms albeit albums alcohol alcoholic algebra algebraic algorithm algorithms aliases
aliens aligned aligning alignment aligns allegation allegations allege alleged allegedly alleges
alleging allergic alleviate alliance allies allocate allocated allocates allocating allocation
allocations allowable allowance allowances allowed allowing allows almost alongside alphabet
alphabetic alphabetical already alteration alterations altered altering alternate alternative
alternatively alternatives alters although altogether always amateur amazed amazes amazing
amazingly ambassador ambient ambiguities ambiguity ambiguous ambitious amended amending amendment
amends amongst amount amounts amplifier amused amusement amuses amusing anagram analog analogous
analogue analogy analyse analysed analyses analysing analysis analyst analyze analyzed analyzes
analyzing anarchy anatomy ancestor ancestors ancient anecdote anecdotes angels angles anguish
animal animals anniversary announce announced announcement announcements announces announcing
annoyance annoyed annoying annoys annual annually anomalies anomaly anonymous anorak anoraks
another answer answered answering answers anthology anticipate anticipated anticipates anticipating
anticipation antidote antique antisocial anxious anybody anyhow anyone anyplace anything anyway
anywhere apathetic apathy apologies apologise apologised apologises apologising apologize
apologized apologizes apologizing apology apostrophe appall appalled appalling appallingly appalls
appals apparatus apparatuses apparent apparently appeal appealed appealing appeals appear
appearance appearances appeared appearing appears append appended appending appendix appends
applause applicable applicant applicants application applications applied applies applying appoint
appointed appointing appointment appointments appoints appraisal appreciate appreciated appreciates
appreciating appreciation approach approached approaches approaching appropriate appropriately
approval approve approved approves approving approximate approximately approximation arbitrarily
arbitrary arcade arcane archaic architecture archive archived archives archiving arguable arguably
argued argues arguing argument arguments arisen arises arising arithmetic arming around arrange
arranged arrangement arrangements arranges arranging arrays arrest arrested arresting arrests
arrival arrive arrived arrives arriving arrogance arrogant arrows article articles artificial
artificially artist artistic artists ascend ascended ascending ascends ashamed ashcan asking asleep
aspect aspects assault assemble assembled assembler assembles assembling assembly assert asserted
asserting assertion asserts assess assessed assesses assessing assessment assets assign assigned
assigning assignment assignments assigns assist assistance assistant assisted assisting assists
associate associated associates associating association associations assort assorted assorting
assorts assume assumed assumes assuming assumption assumptions assure assured assures assuring
asterisk asterisks astronomer astronomers astronomy asynchronous atheism atheist atheists
atmosphere atmospheric atomic atrocities atrocity attach attached attaching attachment attack
attacked attacking attacks attain attempt attempted attempting attempts attend attendance attendant
attended attending attends attention attentions attitude attitudes attorney attorneys attract
attracted attracting attraction attractive attracts attribute attributed attributes attributing
audible audience audiences authentic author authorisation authorise authorised authorises
authorising authorities authority authorization authorize authorized authorizes authorizing authors
autobiography automate automated automates automatic automatically automating automobile
automobiles autumn availability available average avoided avoiding avoids awaited awaiting awaits
awarded awarding awards awareness awfully awkward axioms babies backbone backed background
backgrounds backing backlog backspace backward backwards bacteria bacterium baffle baffled baffles
baffling baggage baking balance balanced balances balancing ballet ballot banana bananas bandwagon
bandwidth bankrupt banned banner banning barely bargain barked barking baroque barred barrel
barrier barriers barring barrister barristers basement bashed bashes bashing basically basics
basing basket basses bastard bastards bathroom batteries battery battle bearded bearding beards
bearing beasts beaten beating beautiful beautifully beauty became because become becomes becoming
bedroom before beforehand beginner beginners beginning begins behalf behave behaved behaves
behaving behavior behaviour behind beings belief beliefs believable believe believed believer
believers believes believing belong belonged belonging belongs beloved bending beneath beneficial
benefit benefits beside besides better betting between beware beyond biased biases biasing biblical
bicycle bicycles bidding bigger biggest bigoted bigotry billfold billion billions binary binding
biochemistry biography biological biologist biologists biology birthday biscuit biscuits bishop
biting bitmap bitten bitter bizarre blackboard blackmail blacks blades blamed blames blaming
blanket blanks blasted blasting blasts blatant blatantly blessed blesses blessing blindly blocked
blocking blocks bloody blowing boards bodies bogged bogging boggle boggles boiled boiling bombed
bombing booked booking booklet bookshop bookshops bookstore border borderline boredom boring borrow
borrowed borrowing borrows bother bothered bothering bothers bottle bottles bottom bought bounce
boundaries boundary bounds bracket bracketed bracketing brackets brains brakes branch branches
branded branding brands breach breakdown breakfast breaking breaks breath breathe breathed breathes
breathing breeding breeds breeze brethren bricks bridge bridges briefly brigade bright brighter
brightest brightly brightness brilliant brilliantly bringing brings broadcast broadcasting
broadcasts broadly broken brother brothers brought browse browsed browses browsing brutal bubble
bucket budget buffer buffered buffering buffers bugger buggers building buildings builds bullet
bulletin bullets bundle burden bureaucracy buried buries burned burning bursting bursts burying
business businesses butter button buttons buyers buying bypass cabbage cabinet cabled cables
cabling caffeine calculate calculated calculates calculating calculation calculations calculator
calculus calendar called caller calling camera cameras campaign campaigned campaigning campaigns
campus cancel canceled canceling cancelled cancelling cancels cancer candidate candidates cannot
canonical capabilities capability capable capacity capital capitalism capitalist capitals captain
capture captured captures capturing carbon cardboard career careers careful carefully careless
caring carpet carriage carried carrier carries carrot carrots carrying cartoon cartoons cartridge
cartridges casing cassette cassettes casting castle casual catalog catalogs catalogue catalogues
catastrophic catches catching categorically categories category catered catering caters cathedral
catholic cattle caught causal causality caused causes causing caution caveat ceased ceases ceasing
ceiling celebrate celebrated celebrates celebrating celebration cellular censor censored censoring
censors censorship center centered centering centers central centrally centre centred centres
centring centuries century ceremony certain certainly certainty certificate chains chairman chairs
challenge challenged challenges challenging chamber champagne champion chance chancellor chances
change changed changeover changes changing channel channels chaotic chapel chapter chapters
character characteristic characteristics characters charge charged charges charging charitable
charities charity charmed charming charms charter charts chased chases chasing chatted chatting
cheaper cheapest cheaply cheated cheating cheats checked checker checking checks cheerful cheers
cheese chemical chemicals chemist chemistry chemists cheque chequed chequer cheques chequing
chestnut chewed chewing chicken chickens childhood childish children chocolate choice choices
choose chooses choosing chopped chopping choral chorus chosen chucked chucking chucks chunks church
churches cigarette cinema circle circles circuit circuitry circuits circular circulate circulated
circulates circulating circulation circumstance circumstances cities citing citizen citizens
civilian civilisation civilise civilised civilises civilising civilization civilize civilized
civilizes civilizing claimed claiming claims clarification clarified clarifies clarify clarifying
clarity clashes classed classes classic classical classics classification classified classifies
classify classifying classing clause clauses cleaned cleaner cleaners cleanest cleaning cleanly
cleans clearance cleared clearer clearest clearing clearly clears clever cleverer cleverest client
clients climate climbed climbing climbs clinic clinical clipped clipping clique clocks clones
closed closely closer closes closest closet closing closure clothe clothed clothes clothing clouds
clumsy cluster clusters coarse cobbler cobblers coding coffee coherent coincide coincidence coined
coining collaboration collapse collapsed collapses collapsing collar collate collated collates
collating colleague colleagues collect collected collecting collection collections collective
collects college colleges colony colored coloring colors colour coloured colouring colours column
columns combat combination combinations combine combined combines combining comedy comfort
comfortable comfortably comics coming command commandment commandments commands commas commence
comment commentary commentator commentators commented commenting comments commercial commercially
commission commissioned commissioning commissions commit commitment commitments commits committed
committee committees committing commodity common commonly commons communal communicate communicated
communicates communicating communication communications communism communist communists communities
community compact companies companion company comparable comparative comparatively compare compared
compares comparing comparison comparisons compassion compatibility compatible compel compelled
compelling compels compensate compensation compete competed competence competent competes competing
competition competitive competitor competitors compilation compile compiled compiler compilers
compiles compiling complacent complain complained complaining complains complaint complaints
complement complementary complete completed completely completeness completes completing completion
complex complexity complicate complicated complicates complicating complication complications
compliment comply component components compose composed composer composers composes composing
composite composition compound comprehend comprehensible comprehension comprehensive compress
compressed compresses compressing compression comprise comprised comprises comprising compromise
compulsion compulsory computation computational compute computed computer computerise computerised
computerises computerising computerize computerized computerizes computerizing computers computes
computing concatenate concatenated concatenates concatenating conceal concealed concealing conceals
concede conceivable conceivably conceive conceived conceives conceiving concentrate concentrated
concentrates concentrating concentration concept conception concepts conceptual concern concerned
concerning concerns concert concerto concerts concise conclude concluded concludes concluding
conclusion conclusions concrete concur concurrently condemn condemnation condemned condemning
condemns condense condensed condenses condensing condition conditional conditioned conditioning
conditions condom condone conduct conducted conducting conductor conducts conference conferences
confess confidence confident confidential confidentiality configuration configurations configure
configured configures configuring confine confined confines confining confirm confirmation
confirmed confirming confirms conflict conflicted conflicting conflicts conform confront confronted
confronting confronts confuse confused confuses confusing confusion congest congested congesting
congestion congests congratulate congratulations conjecture conjunction connect connected
connecting connection connections connector connects connotation connotations conscience conscious
consciously consciousness consecutive consensus consent consented consenting consents consequence
consequences consequent consequently conservation conservative conservatives consider considerable
considerably considerate consideration considerations considered considering considers consist
consisted consistency consistent consistently consisting consists consolation console conspicuous
conspiracy constant constantly constants constituency constituent constituents constitute
constitutes constitution constitutional constrain constrained constraining constrains constraint
constraints construct constructed constructing construction constructions constructive constructs
consult consultancy consultant consultants consultation consulted consulting consults consume
consumed consumer consumes consuming consumption contact contacted contacting contacts contain
contained container containing contains contemplate contemplated contemplates contemplating
contemporary contempt contend content contention contentious contents contest context contexts
continent continental continual continually continuation continuations continue continued continues
continuing continuity continuous continuously continuum contour contraception contract contracted
contracting contracts contradict contradicted contradicting contradiction contradictory contradicts
contrary contrast contravention contribute contributed contributes contributing contribution
contributions contributor contributors contrive contrived contrives contriving control controlled
controller controllers controlling controls controversial controversy convenience convenient
conveniently convention conventional conventions conversation conversations converse conversely
conversion conversions convert converted converter converting converts convey convict convicted
convicting conviction convictions convicts convince convinced convinces convincing convincingly
cooked cookie cookies cooking cooled cooling cooperate cooperation coordinate coordinates
coordination copied copies coping copper copying copyright corner corners corporate corporation
corpse corpses correct corrected correcting correction corrections correctly corrects correlate
correlation correspond corresponded correspondence correspondent corresponding corresponds corridor
corrupt corrupted corrupting corruption corrupts cosmic cosmology costed costing costly cotton
council councils counsel counseled counseling counselled counselling counsels counted counter
counterexample counterpart counterparts counting countless countries country countryside counts
county couple coupled couples coupling courage courier course courses courtesy courts cousin
coverage covered covering covers cracked cracking cracks cramped cramping cramps crashed crashes
crashing crawled crawling crawls create created creates creating creation creative creator creature
creatures credibility credible credit credits cricket crimes criminal criminals crisis crisps
criteria criterion critic critical criticise criticised criticises criticising criticism criticisms
criticize criticized criticizes criticizing critics crossed crosses crossing crossroad crossroads
crossword crowded crowding crowds crucial cruelty cruise cruised cruises cruising crunch crunched
crunches crunching crushed crushes crushing crying cryptic crystal crystals cuckoo cuddly culprit
cultural culture cultures cumbersome cumming cumulative cunning cupboard curing curiosity curious
curiously currency current currently curriculum cursor curtain curtains curves custard custom
customary customer customers customs cutting cycled cycles cycling cyclist cyclists cylinder
cynical damage damaged damages damaging damnation damned damning danced dances dancing danger
dangerous dangerously dangers daring darkness darling dashed dashes dashing database databases
dating daughter daylight daytime deadline deadly dealer dealers dealing deaths debatable debate
debated debates debating debugged debugger debugging debugs decade decades decent decide decided
decides deciding decimal decision decisions declaration declarations declare declared declares
declaring decline declined declines declining decode decoded decodes decoding decrease decreased
decreases decreasing dedicate dedicated dedicates dedicating deduce deduced deduces deducing
deduction deductions deemed deeming deeper deepest deeply default defaults defeat defeated
defeating defeats defect defective defects defence defend defended defending defends defense
defensive deficiencies deficiency define defined defines defining definite definitely definition
definitions definitive degenerate degradation degrade degraded degrades degrading degree degrees
delayed delaying delays delete deleted deletes deleting deletion deliberate deliberately delicate
delicious delight delighted delightful delighting delights delimiters deliver delivered delivering
delivers delivery delusion demand demanded demanding demands demented demise democracy democratic
democratically demolish demolished demolishes demolishing demonstrate demonstrated demonstrates
demonstrating demonstration demonstrations denied denies denominator denote denotes density dentist
denying department departmental departments departure depend dependant depended dependence
dependent depending depends deposit depress depressed depresses depressing depression deprive
deprived deprives depriving depths deputy derange deranged deranges deranging derivative derive
derived derives deriving derogatory descend descended descending descends describe described
describes describing description descriptions descriptive desert deserted deserting deserts deserve
deserved deserves deserving design designate designated designates designating designed designer
designers designing designs desirable desire desired desires desiring desktop despair desperate
desperately despise despite destination destine destined destines destining destroy destroyed
destroying destroys destruction destructive detach detached detaches detaching detail detailed
detailing details detect detectable detected detecting detection detective detector detects
determination determine determined determines determining deterrent detract devastate devastated
devastates devastating develop developed developer developers developing development developments
develops deviation device devices devious devise devised devises devising devoid devote devoted
devotes devoting diagnosis diagnostic diagnostics diagonal diagram diagrams dialect dialects dialed
dialing dialings dialled dialling diallings dialog dialogue diameter dictate dictator dictatorship
dictionaries dictionary diesel differ differed difference differences different differential
differentiate differently differing differs difficult difficulties difficulty digest digging
digital digits dignity dilemma dimension dimensional dimensions dining dinner diplomatic direct
directed directing direction directions directive directives directly director directories
directors directory directs disable disabled disables disabling disadvantage disadvantages disagree
disagreed disagreeing disagreement disagrees disappear disappeared disappearing disappears
disappoint disappointed disappointing disappointment disappoints disaster disasters disastrous
discard discarded discarding discards discharge disciplinary discipline disclaimer disconnect
disconnected disconnecting disconnects discontinue discontinued discontinues discontinuing discount
discounts discourage discouraged discourages discouraging discover discovered discoveries
discovering discovers discovery discrepancy discrete discretion discriminate discriminated
discriminates discriminating discrimination discuss discussed discusses discussing discussion
discussions disease diseases disguise disguised disguises disguising disgust disgusted disgusting
disgusts dishes dishonest dislike disliked dislikes disliking dismal dismiss dismissed dismisses
dismissing disorder display displayed displaying displays disposable disposal dispose disposed
disposes disposing disposition dispute disregard disrupt disruption dissertation dissimilar
distance distances distant distasteful distinct distinction distinctions distinctive distinctly
distinguish distinguished distinguishes distinguishing distort distorted distorting distortion
distorts distract distracted distracting distracts distress distressed distresses distressing
distribute distributed distributes distributing distribution district disturb disturbance disturbed
disturbing disturbs diverse diversity divert diverted diverting diverts divide divided divides
dividing divine diving division divisions divorce doctor doctors doctrine document documentary
documentation documented documenting documents dollar dollars domain domestic dominant dominate
dominated dominates dominating donate donated donates donating donation donations doomed dooming
dotted dotting double doubled doubles doubling doubtful doubtless doubts downhill downright
downstairs downwards dozens drafted drafting drafts dragged dragging dragon drained draining drains
dramatic dramatically drastic drastically draught draughts drawback drawbacks drawing drawings
dreaded dreadful dreading dreads dreamed dreaming dreams dreamt dreary dressed dresses dressing
drinking drinks dripped dripping drivel driven driver drivers drives driving dropped dropping
drowned drowning drowns drunken drying dubious dumped dumping dumpster duplicate duplicated
duplicates duplicating duplication duration during dustbin duties dynamic dynamically dynamics
eagerly earlier earliest earned earning easier easiest easily eastern eating eccentric echoed
echoes echoing ecological ecology economic economical economically economics economies economy
edited editing edition editions editor editorial editors educate educated educates educating
education educational effect effective effectively effectiveness effects efficiency efficient
efficiently effort efforts eighteen eighth either elaborate elderly elected electing election
elections electoral electorate electric electrical electricity electron electronic electronically
electronics elects elegant element elementary elements elephant elephants elevator elevators eleven
eligible eliminate eliminated eliminates eliminating elitist elsewhere embarrass embarrassed
embarrasses embarrassing embarrassment embedded embedding embeds emerge emerged emergency emerges
emerging eminent eminently emotion emotional emotionally emotions emphasis emphasise emphasised
emphasises emphasising emphasize emphasized emphasizes emphasizing empire empirical employ employed
employee employees employer employers employing employment employs emptied empties emptying emulate
emulation emulator emulators enable enabled enables enabling enclose enclosed encloses enclosing
encode encoded encodes encoding encounter encountered encountering encounters encourage encouraged
encouragement encourages encouraging endeavor endeavour ending endings endless endlessly enemies
energy enforce enforced enforces enforcing engage engaged engages engaging engine engineer
engineered engineering engineers engines enhance enhanced enhancement enhances enhancing enjoyable
enjoyed enjoying enjoyment enjoys enlarge enlarged enlarges enlarging enlighten enlightened
enlightening enlightenment enlightens enormous enormously enough enquire enquired enquires
enquiries enquiring enquiry ensure ensured ensures ensuring entail entails entered entering
enterprise enters entertain entertained entertaining entertainment entertains enthusiasm
enthusiastic entire entirely entirety entities entitle entitled entitles entitling entity entrance
entries envelope envelopes environment environmental environments envisage envisaged envisages
envisaging episode episodes equality equally equals equate equation equations equilibrium equipment
equipped equipping equips equivalent equivalents erased eraser erases erasing erroneous errors
escape escaped escapes escaping esoteric especially essays essence essential essentially establish
established establishes establishing establishment establishments estate estimate estimated
estimates estimating estimation eternal eternity ethical ethics ethnic etymology evaluate evaluated
evaluates evaluating evaluation evened evening evenings evenly events eventual eventually everybody
everyday everyone everything everywhere evidence evident evidently evolution evolutionary evolve
evolved evolves evolving exactly exaggerate exaggerated exaggerates exaggerating examination
examine examined examiner examines examining example examples exceed exceeded exceeding exceedingly
exceeds excellent except excepted excepting exception exceptional exceptionally exceptions excepts
excess excessive excessively exchange exchanged exchanges exchanging excite excited excitement
excites exciting exclamation exclude excluded excludes excluding exclusion exclusive exclusively
excuse excuses executable execute executed executes executing execution executive exempt exercise
exercised exercises exercising exhaust exhausted exhausting exhaustive exhausts exhibit exhibition
existed existence existing exists exited exiting exotic expand expanded expanding expands expansion
expect expectation expectations expected expecting expects expedition expenditure expense expenses
expensive experience experienced experiences experiencing experiment experimental experimentally
experimentation experimented experimenting experiments expert expertise experts expire expired
expires expiring expiry explain explained explaining explains explanation explanations explanatory
explicit explicitly explode exploded explodes exploding exploit exploitation exploited exploiting
exploits exploration explore explored explores exploring explosion explosions explosive exponential
export expose exposed exposes exposing exposure express expressed expresses expressing expression
expressions expressway expressways extant extend extended extending extends extension extensions
extensive extensively extent extents external externally extinction extract extracted extracting
extraction extracts extraneous extraordinarily extraordinary extras extreme extremely extremes
extremist eyesight fabric facilitate facilities facility facing factor factories factors factory
factual factually faculties faculty failed failing failure failures fainter faintest fairer fairest
fairly fairness faithful fallacious fallacy fallen falling familiar familiarity families family
famine famous fantasies fantastic fantasy farewell farmer farmers farther farthest fascinate
fascinated fascinates fascinating fascist fashion fashionable fashioned fashioning fashions faster
fastest father fathers fatuous faucet faults faulty favorable favored favoring favorite favorites
favors favour favourable favoured favouring favourite favourites favours feared fearing feasibility
feasible feature featured features featuring federal feeble feedback feeding feeling feelings
fellow fellows female females feminist feminists fender fenders festival fewest fibers fibres
fiction fictional fiddle fiddled fiddles fiddling fields fierce fifteen fighter fighting fights
figure figured figures figuring filing filled filling filmed filming filter filtered filtering
filters filthy finalise finalised finalises finalising finalize finalized finalizes finalizing
finally finals finance finances financial financially finding findings finest finger fingers fining
finish finished finishes finishing finite firework fireworks firing firmly firstly fiscal fished
fishes fishing fitted fitting fixing flagged flagging flames flashed flashes flashing flavor
flavour flawed flawing flexibility flexible flight flipped flipping floated floating floats flooded
flooding floods floors floppy flowed flower flowers flowing fluctuation fluctuations fluent fluffy
flushed flushes flushing flying folded folder folders folding follow followed follower followers
following follows fooled fooling foolish football footnote footnotes forbade forbid forbidden
forbidding forbids forced forces forcibly forcing forecast forecasting forecasts foreign foreigner
foreigners foreseeable forest forests forever forgave forget forgets forgetting forgive forgiven
forgives forgiving forgot forgotten formal formally format formation formats formatted formatting
formed former formerly forming formula formulae formulation forthcoming fortnight fortunate
fortunately fortune forward forwarded forwarding forwards fossil fought foundation foundations
founded founding founds fountain fourteen fourth fraction fractions fragile fragment fragments
frames framework frankly frantic freaks freedom freeing freely freeway freeways freeze freezes
freezing french frequencies frequency frequent frequently friction friend friendly friends
friendship frighten frightened frightening frightens fringe frivolous frowned frowning frowns
frozen fruits frustrate frustrated frustrates frustrating frustration frying fulfil fulfill
fulfilled fulfilling fulfills fulfils fuller fullest function functional functionality functioned
functioning functions fundamental fundamentalist fundamentally funded funding funeral funnier
funniest furniture further furthermore furthest fusion futile future gained gaining galactic galaxy
garage garbage garble garbled garbles garbling garden gardens gasoline gateway gather gathered
gathering gathers geared gearing gender general generalisation generalisations generalise
generalised generalises generalising generalization generalizations generalize generalized
generalizes generalizing generally generate generated generates generating generation generations
generator generators generic generous genetic genetically genetics genius genocide gentle gentleman
gentlemen gently genuine genuinely geographical geography geology geometry gesture getting ghastly
gibberish girlfriend giving gladly glance glasses gleaned gleaning gleans global globally glorious
glossy gloves glowed glowing golden goldfish goldfishes goodbye goodies goodness gorgeous gospel
gossip gotten govern governed governing government governments governor governs grabbed grabbing
grades gradual gradually graduate graduated graduates graduating graduation graffiti graffito
grammar grammatical grandfather grandmother grands granted granting grants graphic graphical
graphics graphs grateful gratefully gratuitous gratuitously gravitational gravity greasy greater
greatest greatly greedy grinding grinds grosses grossly ground grounds grouped grouping groups
growing growth guarantee guaranteed guaranteeing guarantees guarded guarding guards guessed guesses
guessing guests guidance guided guideline guidelines guides guiding guilty guinea guitar gullible
gutter habits hacked hacker hackers hacking haircut halted halting halves hammer handbook handed
handful handicap handing handle handled handler handles handling hanged hanging hangover happen
happened happening happens happier happiest happily happiness hardback harden hardened hardening
hardens harder hardest hardly hardship hardware harmful harmless harmony hassle hasten hating
hatred having hazard hazards headache headed header headers heading headline headlines health
healthy hearing heartily hearts heated heating heaven heavens heavier heaviest heavily height
heights helicopter helmet helped helpful helping helpless henceforth hereby heresy heritage heroes
heroic heroin herring herrings herself hesitate heterosexual hexadecimal hidden hideous hideously
hiding hierarchical hierarchy higher highest highlight highlighted highlighting highlights highly
highway highways hilarious himself hindsight hinted hinting hiring historian historians historic
historical historically history hitherto hitting holder holders holding holiday holidays hollow
homosexual homosexuality honest honestly honesty honorary honored honoring honors honour honoured
honouring honours hooked hooking hopeful hopefully hopeless hopelessly hoping hordes horizon
horizontal horizontally horrendous horrendously horrible horribly horrid horrific horrified
horrifies horrify horrifying horror horses hospital hospitals hostile housed household houses
housing however hugely humane humanity humans humble humbly humorous humour hundred hundreds hungry
hunted hunting hurting husband hydrogen hyphen hypocrisy hypocrite hypocritical hypothesis
hypothetical hysterical idealistic ideally ideals identical identically identification identified
identifier identifiers identifies identify identifying identity ideological ideology idiosyncratic
idiotic idiots ignorance ignorant ignore ignored ignores ignoring illegal illegally illiterate
illness illogical illusion illustrate illustrated illustrates illustrating illustration
illustrations images imaginary imagination imaginative imagine imagined imagines imagining
imbalance immature immediate immediately immense immensely imminent immoral immortal immune impact
impair impaired impairing impairs impend impended impending impends imperative imperfect imperial
impersonal implausible implement implementation implementations implemented implementing implements
implication implications implicit implicitly implied implies implying import importance important
importantly imported importing imports impose imposed imposes imposing impossible impractical
impress impressed impresses impressing impression impressions impressive imprison imprisoned
imprisoning imprisons improbable improve improved improvement improvements improves improving
impulse inability inaccessible inaccuracies inaccuracy inaccurate inadequate inadvertently
inappropriate incapable incarnation incentive inches incidence incident incidental incidentally
incidents inclination incline inclined inclines inclining include included includes including
inclusion inclusive incoherent income incoming incompatible incompetence incompetent incomplete
incomprehensible inconsistencies inconsistency inconsistent inconvenience inconvenienced
inconveniences inconveniencing inconvenient incorporate incorporated incorporates incorporating
incorrect incorrectly increase increased increases increasing increasingly incredible incredibly
increment incurred incurring incurs indeed indefensible indefinite indefinitely indent independence
independent independently indeterminate indexed indexes indexing indicate indicated indicates
indicating indication indications indicative indicator indicators indictment indirect indirection
indirectly indistinguishable individual individually individuals induce induced induces inducing
induction indulge indulged indulges indulging industrial industries industry ineffective
inefficiency inefficient inequality inertia inevitable inevitably inexperienced infallible infamous
infant infantile infect infected infecting infection infects infelicity inference inferior
inferiority infinite infinitely infinity inflation inflexible inflict influence influenced
influences influencing influential inform informal informally information informative informed
informing informs infrastructure infrequent infringement ingenious ingredient ingredients inhabit
inhabitant inhabitants inhabited inhabiting inhabits inherent inherently inherit inheritance
inherited inheriting inherits inhibit inhibited inhibiting inhibition inhibits initial
initialisation initialise initialised initialises initialising initialization initialize
initialized initializes initializing initially initials initiate initiated initiates initiating
initiative inject injure injured injures injuries injuring injury injustice innocence innocent
innovation innovative inputs inputted inputting inquire inquired inquires inquiries inquiring
inquiry insane insect insects insecure insensitive insert inserted inserting insertion inserts
inside insidious insight insignificant insist insisted insistence insisting insists insofar inspect
inspected inspecting inspection inspects inspiration inspire inspired inspires inspiring install
installation installations installed installing installs instance instances instant instantly
instead instinct institute institution institutions instruct instructed instructing instruction
instructions instructs instrument instrumental instruments insufficient insult insulted insulting
insults insurance intact intake integer integers integral integrate integrated integrates
integrating integration integrity intellect intellectual intelligence intelligent intend intended
intending intends intense intensely intensity intensive intent intention intentional intentionally
intentions interact interacted interacting interaction interactions interactive interactively
interacts intercourse interest interested interesting interestingly interests interface interfaced
interfaces interfacing interfere interfered interference interferes interfering interim interior
intermediate intermittent internal internally internals international interpret interpretation
interpretations interpreted interpreter interpreting interprets interrogate interrupt interrupted
interrupting interruption interruptions interrupts intersection intersections interval intervals
intervene intervened intervenes intervening intervention interview interviewed interviewing
interviews intimate intolerance intrinsic intrinsically introduce introduced introduces introducing
introduction introductory intuitive invade invaded invades invading invalid invalidate invaluable
invariably invasion invent invented inventing invention inventions inventor invents inverse invert
inverted inverting inverts invest investigate investigated investigates investigating investigation
investigations investment invisible invitation invite invited invites inviting invoke invoked
invokes invoking involve involved involvement involves involving ironic irrational irrelevant
irrespective irresponsible irritate irritated irritates irritating irritation island islands
isolate isolated isolates isolating isolation issued issues issuing itself jacket jackets jammed
jamming jargon jealous jellies joined joining jointly joints joking journal journalist journalists
journals journey judged judgement judgements judges judging judgment judgments jumped jumping
junction jungle junior justice justifiable justifiably justification justified justifies justify
justifying juvenile keeper keeping kernel kettle keyboard keyboards keying keystroke keystrokes
keyword keywords kicked kicking kidded kidding kidnap kidnapped kidnapping kidnaps kidney killed
killer killing kindly kindness kingdom kitchen knight knocked knocking knocks knowing knowledge
labeled labeling labelled labelling labels laboratory labour lacked lacking ladder ladies landed
landing landlord landscape language languages largely larger largest lasers lasted lasting lately
latest latter laughed laughing laughs laughter launch launched launches launching lavatory lawyer
lawyers layers laying layout laziness leaded leader leaders leadership leading leaflet leaflets
league leaned leaning learned learning learns learnt leather leaved leaves leaving lecture lectured
lecturer lecturers lectures lecturing legally legend legendary legible legislation legitimate
legitimately leisure lending length lengths lengthy lenient lenses lesbian lesser lesson lessons
lethal letter letters letting levels liability liable liaison liberal liberties liberty librarian
libraries library licence licences license licensed licenses licensing lifestyle lifetime lifted
lifting lighted lighter lightest lighting lightly lightning lightninged lightnings lights
likelihood likely likewise liking limitation limitations limited limiting limits linear linguistic
lining linkage linked linking liquid liquor listed listen listened listener listening listens
listing listings literal literally literary literate literature litter little lively livest living
loaded loader loading locally locals locate located locates locating location locations locked
locking logged logging logical logically lonely longer longest looked looking loophole loosely
lorries losing losses louder loudest loudly lovely lovers loving lowered lowering lowers lowest
luckily ludicrous ludicrously luggage lunatic lunchtime lurked lurking luxury lyrics machine
machinery machines madness magazine magazines magical magnetic magnificent magnitude mailbox mailed
mailing mainframe mainframes mainly mainstream maintain maintained maintaining maintains
maintenance majority makers making malfunction malicious manage managed management manager managers
manages managing mandate mandatory mangle mangled mangles mangling manifestation manifestly
manifesto manipulate manipulated manipulates manipulating manipulation mankind manned manner
manning manpower manual manually manuals manufacture manufactured manufacturer manufacturers
manufactures manufacturing mapped mapping margin marginal marginally margins marital marked marker
markers market marketed marketing markets marking marriage married marries marrying marvellous
marvelous masses massive massively master masters matched matches matching material materials
mathematical mathematically mathematician mathematicians mathematics matrices matrix matter matters
mature maximise maximize maximum meaning meaningful meaningless meanings meantime meanwhile measure
measured measurement measurements measures measuring mechanic mechanical mechanics mechanism
mechanisms medical medicine medieval medium mediums meeting meetings megabyte megabytes melody
member members membership memorable memories memory mended mending mental mentality mentally
mention mentioned mentioning mentions mercury merely merged merges merging merits message messages
messed messes messing metaphor meters method methods metres metric metros microcomputer
microcomputers microprocessor microwave midday middle midnight mighty migrate migrated migrates
migrating migration mildly mileage military million millions minded minding mindless minimal
minimalist minimise minimize minimum mining minister ministers minorities minority minute minutes
miracle miracles miraculous mirror mirrors miscellaneous misdirect misdirected misdirecting
misdirects miserable miserably misery misfortune misguide misguided misguides misguiding
misinterpret misinterpreted misinterpreting misinterprets mislead misleading misleads misled
misplace misplaced misplaces misplacing misprint misread misreading misreads misrepresent
misrepresented misrepresenting misrepresents missed misses missile missiles missing mission mistake
mistaken mistakenly mistakes mistaking mistook misunderstand misunderstanding misunderstands
misunderstood misuse mixing mixture mnemonic moaned moaning mobile modeled modeling modelings
modelled modelling modellings models moderate moderately moderation modern modest modification
modifications modified modifies modify modifying module modules molecular molecule molecules moment
momentarily moments momentum monarch monitor monitored monitoring monitors monkey monkeys
monochrome monopoly monster monsters monthly months morality morally morals moreover morning
mornings morons mortal mortality mortals mostly mother mothers motion motions motivate motivated
motivates motivating motivation motive motives motors motorway motorways mountain mountains mounted
mounting mounts movement movements movies moving mucked mucking muddle muddled muddles muddling
multiple multiples multiplication multiplied multiplies multiply multiplying mumble mundane murder
murdered murderer murdering murders muscle muscles museum museums musical musician musicians mutter
muttered muttering mutters mutual mutually myself mysteries mysterious mysteriously mystery mystic
mythical mythology nailed nailing nameless namely naming narrative narrow narrower narrowest
nastier nastiest nation national nationally nations native natives natural naturally nature naughty
nearby nearer nearest nearly neatly necessarily necessary necessity needed needing needle needles
needless needlessly negate negative neglect neglected neglecting neglects negligible negotiable
negotiate negotiated negotiates negotiating negotiation negotiations neighbor neighborhood
neighbors neighbour neighbourhood neighbours neither nerves nervous nested nesting network
networked networking networks neural neutral nevertheless newcomer newcomers newest newsletter
newsletters newspaper newspapers nicely nicest nicked nicking nickname nicknames nightmare nights
nobody noises nominal nominally nominate nominated nominates nominating nonetheless nonsense normal
normality normally northern nostalgia notable notably notation nothing notice noticeable noticeably
noticed notices noticing notification notified notifies notify notifying noting notion notions
notorious notwithstanding novels novelty novice novices nowadays nowhere nuclear nuisance number
numbered numbering numbers numbest numeral numerals numeric numerical numerous nurses obeyed
obeying object objected objecting objection objectionable objections objective objects obligation
obligatory oblige obliged obliges obliging obnoxious obscene obscure obscured obscures obscuring
obscurity observation observations observe observed observer observers observes observing obsess
obsessed obsesses obsessing obsession obsolete obstruct obstructed obstructing obstructs obtain
obtainable obtained obtaining obtains obvious obviously occasion occasional occasionally occasions
occupation occupied occupies occupy occupying occurred occurrence occurrences occurring occurs
offence offences offend offended offender offenders offending offends offense offenses offensive
offered offering offerings offers offhand office officer officers offices official officially
officials offset offsets offsetting offspring oldest omission omissions omitted omitting oneself
ongoing onwards opened opening openly operas operate operated operates operating operation
operational operations operator operators opinion opinions opponent opponents opportunities
opportunity oppose opposed opposes opposing opposite opposition oppress oppressed oppresses
oppressing oppression optical optimal optimisation optimise optimised optimises optimising
optimistic optimization optimize optimized optimizes optimizing optimum opting option optional
optionally options opuses orange orbital orchestra orchestral ordered ordering orders ordinary
organic organisation organisations organise organised organiser organisers organises organising
organization organizations organize organized organizer organizers organizes organizing organs
orient oriental orientate orientated orientates orientating orientation oriented orienting orients
origin original originally originals originate originated originates originating originator origins
orthodox others otherwise ourselves outcome outcomes outcry outdated outgoing outline outlined
outlines outlining outlook output outputs outrage outraged outrageous outrages outraging outright
outset outside outstanding outweigh outweighs overall overcame overcome overcomes overcoming
overdraft overdue overflow overhead overheads overlap overload overloaded overloading overloads
overlong overlook overlooked overlooking overlooks overly overnight overprice overpriced overprices
overpricing overridden override overrides overriding overrode overseas overtime overtone overtones
overview overwhelm overwhelmed overwhelming overwhelms overwriting overwritten owners ownership
owning oxygen pacifier package packaged packages packaging packed packet packets packing padded
padding paging painful painfully painless painted painting paintings paints palace panels paperback
papers parade paradise paradox paragraph paragraphs parallel parallels parameter parameters
paranoia paranoid paraphrase pardon parent parentheses parenthesis parents parity parked parking
parliament parochial parody parrot parsed parses parsing partial partially participant participants
participate participated participates participating particle particles particular particularly
parties partition partitioned partitioning partitions partly partner partners passage passages
passed passenger passengers passes passing passion passionate passive passport password passwords
patched patches patching patent pathetic patience patient patients patronise patronised patronises
patronising patronize patronized patronizes patronizing pattern patterns paused pauses pausing
pavement paying payment payments peaceful peanut peanuts peasant peasants peculiar pedant pedantic
pedantry pedants pedestrian pedestrians penalties penalty pencil pended pending penguin pennies
people peoples perceive perceived perceives perceiving percent percentage percents perception
perfect perfection perfectly perform performance performances performed performing performs perhaps
period periodic periodically periods peripheral peripherals permanent permanently permissible
permission permit permits permitted permitting perpetual persecute persecuted persecutes
persecuting persist persistent person personal personalities personality personally personnel
persons perspective persuade persuaded persuades persuading persuasion perverse petrol pharmacies
pharmacy phased phases phasing phenomena phenomenon phenomenons philosopher philosophers
philosophical philosophies philosophy phoenix phoned phones phoning photocopy photograph
photographic photographs photos phrase phrased phrases phrasing physic physical physically
physicist physicists physics physiology picked picking picture pictures pieces pigeon pinched
pinches pinching pipeline pitfall pitfalls pizzas placed places placing plague plagued plagues
plaguing plainly planes planet planetary planets planned planning planted planting plants plaster
plastered plastering plasters plastic plates platform plausible played player players playground
playing pleasant pleasantly please pleased pleases pleasing pleasure plenty plotted plotter
plotting plugged plugging plural pocket pockets poetic poetry pointed pointer pointers pointing
pointless points poison poisoned poisoning poisons police policeman policies policy polish polished
polishes polishing polite politeness political politically politician politicians politics
pollution polynomial pompous poorer poorest poorly popped popping populace popular popularity
populate populated populates populating population populations pornography portability portable
ported porter porters porting portion portions portray portrayed portraying portrays posing
position positioned positioning positions positive positively possess possessed possesses
possessing possession possibilities possibility possible possibly postage postal postcard posted
poster posters posting postmaster postpone postponed postpones postponing postscript postulate
potato potatoes potential potentially pounds poured pouring poverty powder powered powerful
powering powers practicable practical practically practicals practice practiced practices
practicing practise practised practises practising pragmatic praise prayed prayer prayers praying
preach preached preaches preaching precaution precautions precede preceded precedence precedent
precedes preceding precious precise precisely precision predecessor predecessors predict
predictable predicted predicting prediction predictions predicts predominantly preface prefer
preferable preferably preference preferences preferred preferring prefers prefix prefixed prefixes
prefixing pregnancy pregnant prejudice prejudiced prejudices prejudicing preliminary premature
prematurely premise premises premium preparation prepare prepared prepares preparing prerequisite
prescribe prescribed prescribes prescribing prescription presence present presentation presented
presenting presently presents preserve preserved preserves preserving president pressed presses
pressing pressure pressures presumably presume presumed presumes presuming pretend pretended
pretending pretends pretentious pretty prevail prevalent prevent prevented preventing prevention
prevents preview previewer previous previously priced prices pricing priest priests primarily
primary primes primitive primitives prince principal principally principle principles printed
printer printers printing printout printouts prints priorities priority prises prison prisoner
prisoners privacy private privately privatisation privatization privilege privileged privileges
privileging prizes probabilities probability probable probably problem problems procedure
procedures proceed proceeded proceeding proceedings proceeds process processed processes processing
processor processors proclaim produce produced producer producers produces producing product
production productive productivity products profession professional professionals professor profile
profiles profit profitable profits profound program programmable programme programmed programmer
programmers programmes programming programs progress progressed progresses progressing prohibit
prohibited prohibiting prohibits project projected projecting projection projects proliferation
prolong prolonged prolonging prolongs prominent promise promised promises promising promote
promoted promotes promoting promotion prompt prompted prompting promptly prompts pronoun pronounce
pronounced pronounces pronouncing pronunciation proofs propaganda proper properly properties
property prophet proportion proportional proportions proposal proposals propose proposed proposes
proposing proposition proprietary prosecute prosecuted prosecutes prosecuting prosecution prospect
prospective prospects prostitute prostitutes protect protected protecting protection protects
protein protest protocol protocols prototype proved proven proves provide provided provides
providing proving provision provisional provisions provocative provoke provoked provokes provoking
proximity pseudo psychological psychologist psychologists psychology public publication
publications publicise publicised publicises publicising publicity publicize publicized publicizes
publicizing publicly publish published publisher publishers publishes publishing pudding pulled
pulling pulses pumped pumping punched punches punching punctuation puncture punish punished
punishes punishing punishment pupils purchase purchased purchases purchasing purely purity purple
purpose purposes pursue pursued pursues pursuing pursuit pushed pushes pushing putted putting
puzzle puzzled puzzles puzzling python qualification qualifications qualified qualifier qualifiers
qualifies qualify qualifying qualities quality quantities quantity quantum quarter quarters queens
queries question questionable questioned questioning questionnaire questions queued queues queuing
quibble quicker quickest quickly quieter quietest quietly quitting quotas quotation quotations
quoted quotes quoting rabbit rabbits racial racing racism racist racket radiation radical radically
radios radius railroad railway rainbow rained raining raised raises raising rampant random randomly
ranged ranges ranging ranted ranting rapidly rarely rarest rather rating rational rationale
rationally ratios rattle rattled rattles rattling raving reached reaches reaching reacted reacting
reaction reactionary reactions reactor reacts readable reader readers readership readily reading
readings realisation realise realised realises realising realistic reality realization realize
realized realizes realizing really realms rearrange rearranged rearranges rearranging reason
reasonable reasonably reasoned reasoning reasons reassure reassured reassures reassuring rebuild
rebuilding rebuilds rebuilt recall recalled recalling recalls receipt receive received receiver
receives receiving recent recently reception recipe recipes recipient recipients reckless reckon
reckoned reckoning reckons reclaim recognisable recognise recognised recognises recognising
recognition recognizable recognize recognized recognizes recognizing recollection recommend
recommendation recommendations recommended recommending recommends reconcile reconsider record
recorded recorder recording recordings records recover recovered recovering recovers recovery
recreational recruit recruited recruiting recruitment recruits rectangle rectangular rectified
rectifies rectify rectifying recursion recursive recycle recycled recycles recycling redefine
redefined redefines redefining redirect reduce reduced reduces reducing reduction reductions
redundancy redundant reference referenced references referencing referendum referred referring
refers refine refined refines refining reflect reflected reflecting reflection reflects reflex
reform reformat reformed reforming reforms refrain refresh refreshed refreshes refreshing refund
refusal refuse refused refuses refusing refute regain regard regarded regarding regardless regards
regime region regional regions register registered registering registers registration regret
regrets regrettably regretted regretting regular regularly regulation regulations reinstate
reinstated reinstates reinstating reiterate reject rejected rejecting rejection rejects relate
related relates relating relation relations relationship relationships relative relatively
relatives relativity relaxed relaxes relaxing release released releases releasing relevance
relevant reliability reliable reliably relied relief relies relieve relieved relieves relieving
religion religions religious relocation reluctance reluctant reluctantly relying remain remainder
remained remaining remains remark remarkable remarkably remarked remarking remarks remedy remember
remembered remembering remembers remind reminded reminder reminding reminds reminiscent remote
remotely removal remove removed removes removing rename renamed renames renaming render rendered
rendering renders rending rendition renewed renewing renews repair repaired repairing repairs
repeat repeatable repeated repeatedly repeating repeats repent repertoire repetition repetitive
rephrase replace replaced replacement replacements replaces replacing replied replies replying
report reported reporter reporting reports represent representation representations representative
representatives represented representing represents reproduce reproduced reproduces reproducing
reproduction repulsive reputation request requested requesting requests require required
requirement requirements requires requiring requisite reread rereading rereads rescue research
researcher researchers resemblance resemble resembled resembles resembling resent reservation
reservations reserve reserved reserves reserving resets resetting reside residence resident
residents resides resign resignation resigned resigning resigns resist resistance resolution
resolve resolved resolves resolving resort resorted resorting resorts resource resources respect
respectable respected respecting respective respectively respects respond responded responding
responds response responses responsibilities responsibility responsible restart restarted
restarting restarts restaurant restaurants rested resting restore restored restores restoring
restrain restrained restraining restrains restrict restricted restricting restriction restrictions
restrictive restricts result resulted resulting results resume resumed resumes resuming
resurrection retail retain retained retaining retains retire retired retirement retires retiring
retract retrieval retrieve retrieved retrieves retrieving return returned returning returns reveal
revealed revealing reveals revelation revenge revenue reverse reversed reverses reversing revert
review reviewed reviewing reviews revise revised revises revising revision revolt revolted
revolting revolts revolution revolutionary reward rewards rewrite rewrites rewriting rewritten
rewrote rhetorical rhythm ribbon richer richest ridden ridding ridiculous ridiculously riding
rightly rights rigorous ringed ringing ripped ripping rising risked risking ritual rituals rivals
rivers robots robust rocket rolled rolling romance romantic rotate rotated rotates rotating
rotation rotten roughly roundabout rounded rounding rounds routed routes routine routinely routines
routing royalties rubber rubbish ruined ruining rulers ruling rumored rumoring rumors rumour
rumoured rumouring rumours running rushed rushes rushing sabotage sacked sacking sacred sacrifice
sacrificed sacrifices sacrificing sadden saddened saddening saddens safeguard safeguards safely
safest safety sailed sailing salaries salary salesman salvation sample sampled samples sampling
sandwich sandwiches sanity sarcasm sarcastic satellite satellites satire satisfaction
satisfactorily satisfactory satisfied satisfies satisfy satisfying saving savings saying scaled
scales scaling scandal scanned scanner scanning scarce scarcely scared scares scaring scarlet
scatter scattered scattering scatters scenario scenarios scenery scenes sceptical schedule
scheduled scheduler schedules scheduling scheme schemes scholar scholars school schools science
sciences scientific scientifically scientist scientists scored scores scoring scotch scrapped
scrapping scraps scratch scratched scratches scratching scream screamed screaming screams screen
screens screwed screwing screws script scripts scroll scrolled scrolling scrolls sealed sealing
search searched searches searching season second secondary seconded seconding secondly seconds
secret secretaries secretary secretly secrets section sections sector secular secure security
seeing seeking seemed seeming seemingly segment segments seldom select selected selecting selection
selective selectively selects selfish selling semantic semantics seminar seminars sender sending
senior sensation senses sensible sensibly sensitive sensitivity sentence sentenced sentences
sentencing sentient sentiment sentimental sentiments separate separated separately separates
separating separation separator separators sequel sequence sequences sequential serial series
serious seriously seriousness sermon servant servants served server servers serves service services
serving session sessions setting settings settle settled settles settling seventh several severe
severely severity sexist sexual sexuality sexually shades shadow shaken shakes shaking shallow
shaped shapes shaping shared shareholder shareholders shares sharing sharply shedding sheets shells
shelter shelve shelves shifted shifting shifts shined shines shining shipped shipping shocked
shocking shocks shooting shoots shopped shopping shortage shorten shortened shortening shortens
shorter shortest shorthand shortly shorts should shoulder shoulders shouted shouting shouts showed
shower showers showing shutdown shutting sicken sickened sickening sickens sideways siding sighted
sighting sights signal signaled signaling signalled signalling signals signature signatures signed
significance significant significantly signing silence silent silicon sillier silliest silver
similar similarities similarity similarly simple simpler simplest simplicity simplified simplifies
simplify simplifying simplistic simply simulate simulated simulates simulating simulation
simultaneous simultaneously sincere sincerely sinful singer singers singing single singles singular
singularly sinister sinking sister sitting situate situated situates situating situation situations
sixteen sixties sizing skeleton skeptical sketch sketches skilled skills skipped skipping slaves
sleeping sleeps sliced slices slicing slides sliding slight slighter slightest slightly slipped
slippery slipping slogan sloppy slowed slower slowest slowing slowly smaller smallest smallish
smashed smashes smashing smells smelly smiled smiles smiling smoked smoker smokers smokes smoking
smooth smoothly sneaked sneaking sneaks sneaky snobbery social socialism socialist socially
societies society socket sockets software soldier soldiers solely solicitor solicitors solution
solutions solved solves solving somebody somehow someone someplace something sometime sometimes
somewhat somewhere sooner soonest sophisticate sophisticated sophisticates sophisticating sordid
sorted sorting sought sounded sounding sounds soundtrack source sources southern spaced spaces
spacing spares spatial speaker speakers speaking speaks special specialise specialised specialises
specialising specialist speciality specialize specialized specializes specializing specially
specialty species specific specifically specification specifications specified specifies specify
specifying specimen spectacular spectrum speculate speculation speech speeches speeding speeds
spelled spelling spellings spells spending spends sphere spigot spiral spirit spirits spiritual
spitted spitting splendid splits splitting spoiled spoiling spoils spoilt spoken spokesman sponsor
sponsored sponsoring sponsors spontaneous spontaneously sports spotted spotting sprang spread
spreading spreads spring springing springs sprung spurious square squared squares squaring squash
squashed squashes squashing squeeze squeezed squeezes squeezing stability stable stacks stages
stagger staggered staggering staggers staircase stairs stamped stamping stamps stance standard
standardise standardised standardises standardising standardize standardized standardizes
standardizing standards standing standpoint stands stared stares staring starred starring started
starter starters starting startle startled startles startling starts starve starved starves
starving stated statement statements states static stating station stationary stations statistic
statistical statistics status stayed staying steadily steady stealing steals steered steering
steers stepped stepping stereo stereotype stereotypes sterile sterling sticking sticks sticky
stimulate stimulated stimulates stimulating stimulation stirred stirring stocks stolen stomach
stones stopped stopping storage stored stores storey storeys stories storing storms straight
straightforward strain strains strange strangely stranger strangest strategic strategies strategy
stream streams street streets strength strengthen stress stressed stresses stressing stretch
stretched stretches stretching strict strictly strike strikes striking string stringent strings
stripped stripping strips strive stroke strong stronger strongest strongly struck structural
structure structured structures structuring struggle struggled struggles struggling student
students studied studies studio studying stuffed stuffing stuffs stumble stumbled stumbles
stumbling stunned stunning stupid stupidity styles subject subjected subjecting subjective subjects
submission submit submits submitted submitting subroutine subroutines subscribe subscription
subsequent subsequently subset subsidiary subsidise subsidised subsidises subsidising subsidize
subsidized subsidizes subsidizing substance substances substantial substantially substitute
substituted substitutes substituting substitution subtle subtleties subtlety subtly subway subways
succeed succeeded succeeding succeeds success successful successfully succession successive
successor sudden suddenly suffer suffered sufferer sufferers suffering suffers suffice sufficient
sufficiently suffix suggest suggested suggesting suggestion suggestions suggests suicidal suicide
suitability suitable suitably suited suiting summaries summarise summarised summarises summarising
summarize summarized summarizes summarizing summary summed summer summing sundry sunlight sunrise
sunshine superb superficial superficially superfluous superior superiority supermarket supernatural
supervise supervised supervises supervising supervision supervisions supervisor supervisors
supplement supplementary supplied supplier suppliers supplies supply supplying support supported
supporter supporters supporting supports suppose supposed supposedly supposes supposing suppress
suppressed suppresses suppressing suppression supreme surely surface surfaces surgery surname
surplus surprise surprised surprises surprising surprisingly surround surrounded surrounding
surroundings surrounds survey surveys survival survive survived survives surviving susceptible
suspect suspected suspecting suspects suspend suspended suspending suspends suspension suspicion
suspicious suspiciously sustain sustained sustaining sustains swallow swallowed swallowing swallows
swamped swamping swamps swapped swapping swearing swears sweating sweats sweeping sweeps swimming
switch switched switches switching symbol symbolic symbols symmetric symmetry sympathetic
sympathies sympathise sympathize sympathy symphonies symphony symptom symptoms syndicate syndrome
synonym synonymous synonyms syntactic syntactically syntax synthesis synthesizer system systematic
systems tables tacked tacking tackle tackled tackles tackling tactic tactical tactics tactless
tailor tailored tailoring tailors takers taking talent talented talents talked talking tangent
target targets tasted tasteless tastes tasting taught taxation taxpayer taxpayers teacher teachers
teaches teaching teapot teared tearing technical technically technique techniques technological
technology tedious teenage teenager teenagers telephone telephones telescope television telling
temper temperature temperatures temple temporarily temporary temptation tempted tempting tempts
tended tendencies tendency tender tending tennis tension tentative tentatively termed terminal
terminally terminals terminate terminated terminates terminating termination terminator terming
terminology terrible terribly terrified terrifies terrify terrifying territory terror terrorism
terrorist terrorists tested testing textbook textbooks textual thanked thankful thankfully thanking
thanks theater theatre theirs themes themselves theological theology theorem theorems theoretical
theoretically theories theory therapy thereabouts thereafter thereby therefore therein thereof
theses thesis thickness thieve thieves things thinking thinks thirst thirty thorough thoroughfare
thoroughfares thoroughly though thought thoughts thousand thousands thread threat threaten
threatened threatening threatens threats threshold throat throats through throughout throughput
throwing thrown throws thrust thrusting thrusts ticket tickets tidied tidies tidying tightly
timescale timetable timing tiresome tiring titles tobacco together toggle toilet toilets tokens
tolerance tolerant tolerate tolerated tolerates tolerating tomato tomatoes tomorrow tongue tonight
topical topics torture totally touched touches touching tourist tourists toward towards towers
traced traces tracing tracked tracking tracks traded trades trading tradition traditional
traditionally traditions traffic tragedy tragic trailed trailing trails trained training trains
transaction transactions transcript transfer transferred transferring transfers transform
transformation transformed transforming transforms transient transit transition translate
translated translates translating translation translations translator transmission transmissions
transmit transmits transmitted transmitter transmitters transmitting transparent transport
transported transporting transports trapped trapping trashcan travel traveled traveling travelings
travelled travelling travellings travels treasure treated treating treatment treats treaty
tremendous tremendously trends trendy trials triangle triangles tribes tricks tricky trifle trigger
triggered triggering triggers trilogy trinity triple tripos triumph trivia trivial trivially
trolley troops trouble troubles trouser trousers trucks trumpet truncate truncated truncates
truncating trunks trusted trusting trusts trusty truths trying tuning tunnel tunnels turned turning
turntable tutorial twelve twentieth twenty twisted twisting twists typeset typesets typesetting
typewriter typical typically typing ultimate ultimately umbrella unable unacceptable unaffected
unambiguous unattended unauthorised unauthorized unavailable unavoidable unaware unbalanced
unbearable unbelievable unbelievably unbiased uncertain uncertainty unchanged unclear uncomfortable
uncommon unconnected unconscious unconvincing undefined underestimate undergo undergoes undergoing
undergone undergraduate undergraduates underground undergrounds underlain underlay underlie
underlies underline underlined underlines underlining underlying underneath understand
understandable understanding understands understood undertake undertaken undertakes undertaking
undertook underwent undesirable undocumented undoes undoing undone undoubtedly unduly uneasy
unemployed unemployment unexpected unexpectedly unexplained unfair unfamiliar unfinished
unfortunate unfortunately unfounded unfriendly unhappy unhealthy unhelpful unified unifies uniform
uniformly unifying unimportant uninteresting unions unique uniquely united unites uniting universal
universally universe universities university unjustified unknown unless unlike unlikely unlimited
unload unlock unlocked unlocking unlocks unlucky unnatural unnecessarily unnecessary unobtainable
unofficial unpleasant unpopular unpredictable unread unreadable unrealistic unreasonable unrelated
unreliable unsafe unsatisfactory unseen unsolicited unsound unspecified unstable unsuccessful
unsuitable unsupported unsure unsuspecting untidy untrue unusable unused unusual unusually unwanted
unwelcome unwilling unwise unworkable upbringing update updated updates updating upgrade upgraded
upgrades upgrading upright upsets upsetting upside upstairs upward upwards urgency urgent urgently
urging usable useful usefully usefulness useless usually utilities utility utterly vacancies
vacancy vacation vacations vacuum vaguely validity valley valuable valued values valuing valves
vandalism vanish vanished vanishes vanishing variable variables variance variant variants variation
variations varied varies varieties variety various varying vastly vector vectors vegetable
vegetables vegetarian vehicle vehicles velocity vended vending vendor venture venues verbal
verbally verbatim verbose verdict verification verified verifies verify verifying versatile verses
version versions versus vertical vertically vessel viable vicinity vicious victim victims victory
viewed viewer viewing viewpoint viewpoints vigorously village villages vintage violate violation
violence violent violently violin virgin virtual virtually virtue virtues viruses visible vision
visited visiting visitor visitors visits visual visually vocabulary voices voltage volume volumes
voluntarily voluntary volunteer volunteered volunteering volunteers voters voting vulnerable wading
waffle waited waiting waking walked walking wallet wander wandered wandering wanders wanted wanting
warehouse warmed warming warned warning warnings warped warping warrant warranty wartime washed
washes washing wasted wasteful wastes wasting watched watches watching waters waving weakness
weaknesses wealth wealthy weapon weapons wearing weasel weasels weather wedded wedding weekday
weekend weekends weekly weight welcome welcomed welcomes welcoming welfare western wetting whales
whatever whatsoever wheels whence whenever whereas whereby whereupon wherever whether whichever
whilst whiskey whisky whistle whistles whites whoever wholeheartedly wholly whoops wicked widely
widespread widest wildly willed willing willingly winded winding window windowing windows winner
winners winning winter wiping wiring wisdom wisest wished wishes wishing withdraw withdrawal
withdrawing withdrawn withdraws withdrew within without witness witnessed witnesses witnessing
wizard wombat wonder wondered wonderful wonderfully wondering wonders wondrous wooden worded
wording workable worked worker workers working workings workload workshop workstation workstations
worlds worldwide worried worries worrying worship worthless worthwhile worthy wrapped wrapper
wrappers wrapping wrecked wrecker wrecking wrecks wretched writer writers writes writing writings
written wrongly wrongs yearly yellow yesterday yields younger youngest yourself yourselves
"""
NEAR = """
abased abases abasing abient aborad abortin abrood abstrict abstriction accessable accise
accomodate acing actian actin actins acton actons actos acustom adance adaption additive addressees
adduct adducted adducting adductive adducts adepter adeption adepts adience adits administerd
adminstration adopter adoptian adust adusted adusting adusts advisees aerage aeriel affeir affoord
afterword afterwords agena aging agoing agreing agued agues aguish aking alars alases alays albus
algins alined alines alining allegge allegged allegges allegging alligation alligations allis
allocute allocution allocutions alluviate alost altared altars alterate alterative alteratively
alteratives altes alums ameds amened amening amens aminded amire amises amission amusd analagous
analyt anglos animas anither annal anneal annonce annul anomal anormal anser anther apatetic
apologias apologues appal appar apparance apparats appel appels appled apples appliable appliant
appling apprecate appreve apprisal arcae archie architecure aready arest arges argus aries arist
arrage arras arrie arries arrises arrivas arround arses arsing ascan assart assarted assarting
assarts assaut assemblas asses asset assot assots asssembler assurd ating atomatic attah attucks
audile auding automats autor autun avance avantage aventure aventures averse aversely avert averts
avice avise avised avises avising avocate aways aywhere baases babble babees babes babis backboard
backet backets backs backword backwords bactria baffed baffing bagged bagger baggers bagging bailed
bailing bains baked bakes ballance ballat ballets balmed balming banch banded banding bandle bands
baned baning banket banks banna barded barden barding bards bared baring barley barly barned
barning barque barrad barrer barrow barrows based bases bashos basis bassing bassos bassus bastaard
bastad basted basting basts baten bather bathers bating batten batter batting battles batton baying
beach beaded beading beads beaks beare beared bears beath beathed beathing beaton beats becked
becket becking bedding beeting beeware befire begged begger begging beginnes behove behoved behoves
behoving beking beleve belies belive bellot beore beraking bering berrier besing besses bests
beting bettong bettor bhave biassed biasses biassing bibble bidget biding bigged bigging biggles
bight biking billet billets billian billon billons billot bindle binging bings binned binning
birder birred birring bises bishes biter bitting bittor bittur blackbeard blacked blacking blads
blaes blams blandly blankit blastid blats blattant blawing blinks blissed blisses blissing
blockboard blocs bludes blumed blumes bluming blunket blunks boaked boaking boarded boarding boars
boasts boaten boating bobble bocked bocking bocks boder bodes boerdom boggers bogle bogles boing
boings boked boking boled boling bonce bonding bonds bonner boodies boody booed booing boords
boother bordar borden bords borer borked borking borning borrel boshes bosket bosses botte bottes
botting bouns bourds bowing bowse bowsed bowses bowsing boyers boying brach braches bracketted
bracks bradly brads braes braked braking branchus brans breading breads breaths bredes breding
breech breeks brees brended breth bride brides bries brigs brinded bring brining brins brither
broach brocket brockets brocks broder brokes bronds brose broses browed bruins brunch brunches
bruning brusting brusts bshed bucked bucking budding buffle bugged bugging bught bullion bullions
bullit bunce bunde bunding bunds bunning burdon burely burked burking burred burrel burrier burring
burrow burrowed burrowing burrows bushed bushes bushing busing busket busses bustard bustards
busting busts butteries buttery butting buttle buttles byers cabbled cabbler cabbling caches
caching cacked cacking cacks caffeone cains calender callate callid camara camber camfort cammas
camming campagne camped camping campion camply campos camps camra camus canel caner cannat cannel
cannels cannet canning canter cantered cantering canters cantest cantred capel capet caping capitol
capitols capper captan caracter carbin carer carers caret carful caried caries cariosity carious
carity carless caron caroon carot carrat carrats carrect carrects carse carter carton cartons carts
carves casal cased cases casette casettes cashed cashes cashing caste casted casuality catagories
catalos categorially catelog catelogs cates cating cation catted catting catton caunter cause
causus cavers ceding cellar cellated celled celling censer censers censured censuring cental
centrad centreing centries centry cerate cerated cerates ceratin ceration cercle cereless cering
chaber chace chaces chacked chacker chacking chacks chagres chaing chairmen chais champian chams
chancelor chane chanel changos changs chanks chaoses chapped chapping chare chared charer chares
charing charis charites chars chartable chasid chass chassed chats chawed chawing cheapy cheeful
cheeper cherts chese chesnut chians chicker chicks chinks chins chipped chipping chiral chirmed
chirming chirms chirts chitted chitting chocked chocker chocking chocks choirman choirs choise
chores chose choses chosing chosn choson chous chouse chouses chousing chowed chowing chuch chucker
chunnel chunnels chuses chusing ciding cieling cinter cintre circe circuity circut circuts
cirterion cising cisted citers cites citicism clacks clams clans clapped clapping claque clarance
clarty classis claver cleary clecks clicks clines clint clints cliped cliping clises clithe cliver
clods cloes clonic clonos clons clonus clopped clopping closter clote clotes cloths clour cloured
clouring clours clous clover clucks coaled coaling cobber cobbers cobbles cobles cocks codding
coiled coiling coing cointer coked cokie coking colate coled coleur coling collage collages colled
collet collete colleted colletes colleting collets colling color colun comas combies combind
cometes comic comines commend commendment commends commis committment commos commot commots
communicatees comose companias compatability compatable competer competers competible complant
compliant complied complier compliers complies complimentary complin complins compoed compoer
compoing compole compony compotation compote compotes compte compted compter compters comptible
compting computerese computereses computus conciousness conduced conducing coned coner cones coney
conferrence conferrences confidant conformation conformed conforming conforms conine conines coning
connecter conning consderations consisently consitutional constat constrict constricted
constricting constriction constrictions constrictive constricts consuls contect conter conteur
contin continuos contrat contrist controled controling controversal contund conuses convect
convected convecting convection convections convects convertor convoy cooed cooing cooke cookee
coolung cooming coonty coony cooperite cooping coors coosin copable coped coper copes copis copped
coppies copping copse copses corage coral corcle corelate corelation coreless corer corers
corespondent coring corious correllation correption corries corse corses corves cosed cosen coses
coset cosin cosing cosses cossette costard coted cotemporary cothe coting cottle countess counties
countor coupe couped coupes couping coure coures courge cours couter covert coverts coves covey
coying cracket craked craking crames crams cranch cranched cranches cranching craped craping craps
crases crasis crate crated crates crating craws creatin cremes cressed cresses crete cretic
creticism cretics cretion cricked cricking cricks cries criminol crimped crimping crimps crims
crinch crips crise crises criss criteriia criticsm critteria crocked crocket crocking crocks croise
croises cromes croner crowed crowing crows crucks cruety crumped crumping crumps cruse cruses
crusie crusies cruves cucking cuddy cuing culled culler culling cultual cunts cupper curage curch
curches cureless cures curios currant curried currier curries curring currying curse curser curses
curtein curtesy curtin cushes cushing custer custos custumary cutches cuties cuttle cyclas cyclos
cyclus cystal daces dagged dagging dagon dained daining daled daler damped damping danes danner
dantist darring dashis databuses davide davine dawing deach deaded deading deads deady dealings
deary debagged debagging debags debitable debite debited debiting debted debus debuted debuting
decads decant decare decares decease deceased deceases deceasing decede decine decnet dedicatees
deeing defat defats defeit defet deffer deficiences defied defies defund defunded defunding defunds
degging deicate deice deices deign deigned deigning deigns delate delated delates delating delation
delcine deleing deline delver delvers demain demans deming dempster denes denis dentes depair
dependance deportment deportments deporture deprave depraved depraves depraving depuy deration
dering derve descried descries desine desined desines desining despose dessert desserts desses
destress destressed destry detachs detecter detectible detrect deuce deuced deuces deucing
developes devide devine devisees devotees dfault diable diables diagnoses dialer dialers diaster
diasters diduce diduced diducing diduction differentiae digonal digram digrams dilled dilling
dillings dilog dimeter dimiss diner dinger dingers dinking dinks dinning dipped dipping direcly
directer dirling diruption disagreing disard discession discission discissions discoer discoers
discord discorded discording discords discus discuses disert diseuse diseuses disgest disgested
disgesting disgests dished dishing dispair dispossed distent distintion distributees districted
districting districts distruss diting ditted ditting divel diver divers dives divet divied divies
divise divort dizens doable doated doating doble dobule docent doffer doffers dogging domage domed
dominae doming donatus doning donner dopped dopping doshes doted doting doubs douts doving downed
downing downs dozes dragoon drais drams drapped drapping drats drevel drier driers dries drifted
drifting drifts drive droned droning drossed drosses drossing drought droughts drover drovers
droves droving drownd drows drugged drugging drunks dualled dualling dualogue ductor duffer duffers
duing dunces dunger dunner duped duping duplicatus dushed dushes dushing dustin dying dynamis eaned
eaning eared earing eased easer eases easing eched eches eching echos eclose eclosed ecloses
eclosing eduction eeven eevning eevnings effet eident eidently elabrate electic electral eleen
elevon elven emanent embarras embarrased emhpasizing empare emphases employe employes enage
enclises eneugh enfarce enginer enginers enode enquere ensue ensued ensues ensuing ental enties
entires entoil entoils entre enure enured enures enuring envelops enviroment eposes equiped
equvalent erises erned erning eroses erses escapees essene eternally ether ethic evens everwhere
evets examinees excise excises excludees excusive excusively excuss exect exert exerts exite exits
exorcise exorcised exorcises exorcising expanse expanses expansive expend expended expending
expends experient explait explanitory exports expressos extremest extremis extruct extund facet
faction factional factions faddle faddled faddles faddling fagged fagging faine fainer fainest
fairy falding faller fallon fallow fallowed fallower fallowing fallows falter faltered faltering
falters fames familarity fanals fanded fanding fanger fannier fantasias farced farces farcing fared
farer farers faring farly farmed farmerly farming farness farthermore farwell fasciate fasciated
fashed fashes fashing fator fatted fatting fatuus favor favous faxing fealing febres feeing feely
feered feering feest feeze feezes feezing feinter feintest felder felled fellen feller fellest
felling fellowed fellowing felter feltered feltering felters femals fended fending fenite fennier
fenniest ferest fermal fermat ferther fester fetted fetting feture feuding fibbers fibros fictor
fictors fidded fidding fiend fiendly fiends fiendship fiere fiest fight filed filer filers filler
finder finders finer finers finings finises finist finnier finniest finning finnish firer fires
firmation firmed firmer firmers firming firring fister flams flapped flapping flappy flated flats
flegged flegging flemes fleshed fleshes fleshing flewed flexibilty flexile fligged fling fliped
fliping flippy flogged flogging flopped flopping flors floshes flotas flots flours flouted flouting
flouts flumes fluors fluxibility fluxible foaled foaling foder foiled foiling foller fonded fonder
fonding fonds foods foppy forbad forbode forcs fores foret forgat forges forgie formated formating
formel formers formly formol formule forrest forseeable forset forst forth fortunite foster fother
fothers fouds fouled fouling foulish fouth foxing fraile framer framers franky frech freend freits
frequences friand frictions fried friedly frieze friezes friezing frits frons froward frowards
frows fuddle fuddled fuddles fuddling fueling fuffy fulful fulled fullfil fulling fults fumily
fumous funder funders fundings funds funest funner funnest furth furthcoming fushion fushions
fuster futhermore fyling gabbed gabbing gable gabled gables gabling gades galatic gance gander
ganted ganting gants garbe garbed garbes garbing gardeen gardon garle garling gasolene gasses
gastly gater gaters gatten gatter gatting geans geests geneal generater genies genty genus geoemtry
gering gessed gesses gessing gests gether getter ghostly gilden gilty ginder gitter gitting glace
glady glans glassy glebal glens glosses goldin goldish gorble gorden gosip gossep gosses gossy
grable gradal gradate gradated gradates gradating gradation grados grads gradus grans graphis
grasses grated grater grating greeter greund grewing grides griding grids grins grond groped
groping grous grubbed grubbing grunted grunting grunts guaranteing guarantied guaranties guars
gudes guess guetar guids guily gulden gullable gurage gusts guttar gutting guttur hadden haded
haden hading haled hales haling hallow halvas hamble hamer hander hanover hanted hanting happer
hardan hardden hardin hardset hardwire hardy hared haring harrid harts hasen hasse hastile hated
hatting haused hauses hausing haven havens haves havier hears heartly heath heathy heats heaver
heaves hecker heder heders heeded heeder heeders heeding heighs heiring helder heled heling helmut
helves hemans hemet hemmer hemself hended hending hented henting heppen herby herden herdens herder
herdship herein heres heries hering heron heroon heros herses hersey herts heting hierarchial
highet hight hights hilarius hilding hilted hilting hinged hinging hippen hippens hippier hippiest
hippiness historial hiving hoaring hobits hocked hocker hockers hocking hodden hoder hodler hoeful
hoiked hoiking hoing hoised hoises hoising hoked hoking holer holing holliday homans hondle hondled
hondles hondling honers honging honor hooping hoppier hoppiest hopping horizonal hosed hoses hosing
hostie hostle hotting houss hoving hudden humas hummer humor hungover hurden hurdens hutting
hypotheses iches ideaistic idealogical idealogy idealy ideas ident identifer identifers illess
illision imagos immane immanent immediatly impar impart impartance imparted imparting imparts
impassible imped impeded impeding imperil impies impled implicity impling impot impots impreses
improvs imune inact inadvertantly inane incompetible inconsistences incudes incus indice indices
indicted indicting indiction indictions indictive indictor indictors indue indued indues induing
inert inertion inerts infirm infirmation infirmative infirmed infirming infirms inflect influxible
ingenuous inital inline inquere inquered inqueres inquering insected insection inset insets instal
instals instellation instill instillation instillations instilled instilling instills institue
insufficent intens interally interess intermediae interprater interset intially intimae intinct
inure inured inures inuring inventer invision invitable invitees ionic iranic irenic issus jangle
jargoon jingle joins jointy jollies jooking juking justifably kecked kecking keller kerel kette
keuper keywrd kidnaped kidnaping kight killig kindy kittle knacked knacking knacks knicks knucks
koller lability labor laced lacing laddies laded lader laders lades lading lagend lager lagged
lagging laighs laing laked laking lanch lanched lanches lanching lanely langauge langer langest
lanked lanking larget larked larking larned larning larns larries lased lases lasing lasser lasses
lastings lated later lateral laterally lather lauch lauching lauder laugher launced launces
launcing laved lavers laves laving lawer lawest layer leally leans leant leared learing lears
leasure leavis legendry legged legging lended lenes lenger lengest lenth leses lessen lessens
lesses lessn lessor lested lesting lettres levers liason libeled libeling libelled libelling libels
libraires libral librarius licencees licensees licked licking lidder liest ligged ligging lightings
lighty liked linage lined liner linger linning liquer lirked lirking lisses liston lited liter
liting litoral litters liturate livers loaders loaflet loaned loaning loather loaved loaves loaving
locution locutions lofted lofting loided loiding loner loney looed looing loosing lories lorris
losang losers loses losser lotter lotters lotting loughs loves lovey lowes lucence lucences lucked
lucking luckly ludly lugged lugging lukely lunch lunched lunches lunching lunger luning lured
luring lurries lusted lusting lying lyris maches macroprocessor maddle maddled makars maker makes
manal mandatary maned maness mange manged mangels manger mangers manges manging manling manly
mannar mantal manuel manul manuls marder marged marges maries marin marinal marons marred marring
marris martial mascle mascles maser masers mases massage massages massas massed massie massing
mater maters mather mathes matres matric matrics mattered mattering mattes mauled mauling maure
mavies maxing meaned meddle meddled meddles meddling medial medius meers meeters meges meining
menage menaged menages menaging mened mening menkind menton mercery mered meres mergees mergus
mering meris meros merries meses mester metal metally metes mether methid methos metic meting
metion metter meving middled middles middling middy midified miking milage miliary millian milly
mimble mined mingle mingled mingles mingling minium minning minong minorites minster minsters
minuets mirate mirker mises mislled missang missees missie missies missis missive missung missus
mister misters mitched mitches mitching miters mither mithers mitres mnage moble mocked mocking
modale modals modes modist modulus moile moiled moiling momble monach money moneys monts mooned
mooning moons moors mooving mopped mopping moral moralls moras morels morns moros mortalty mossed
mosses mossing moter moths moton motos moule moves mster mudde mudded mudding mullion mullions
multipying mundatory munster munsters munting munts murally murals murker murries musery musial
mussed musses mussing muster musters mutches muter mutive mutuel muxing naither naive naives naled
natation natie nativus naturel navels nealy necked necking neele neeles neral nervus nether neurol
nevels neves nighs nither nithing nocked nocking noels noeses noisance nomial nooses norml northen
noses nosies notalgia noticable notional notionally notition notwork notworks noughty nouses
numeros nutation obital objet objets obligees obscuras observatin occision occurence occurences
ocurred offed oners operae opers opined oping opining opponens orage orans orgas orientite origan
origans origen orignal outage outages outcame outlie outlied outlies outregeous outsat outsit
overflew overidden overladed overlading overlead overling overlip overloud overlow overrude
oversees overtame overtoe owing oxygon paced paces pacing pained paining pains painter painters
paintless paise palish palled palling palster pament panes panful panned panning panted panting
pantings pants papes papped papping papular papulate papulated papulation papulations parae
paranoea parde pardy pared parens pares parial paries paring parly parode paron parsees parsis
parson parsons partable parted parter parters partes partile parting partis party pases pashed
pashes pashing passibilities passibility passible passibly passus pasted paster pasters pasting
pastmaster patents pates pathed pathing patly patrial patrol patted patten pattens patters patting
pawers payed payer payers payong peach peached peaches peaching peasantly pease peased peases
peasing peckage pecked pecket pecking peeces peisant pelite pencel pened pengun penies pening
pennes pennis pepped pepping perfet perfix perit perked perking permissable peron perscribe
persecutees perses persing personalties personalty persson persue persued persues persuing perter
pertly pervious perviously pesant pesants pester pesters petrel petted petting petty phase phasis
phenes phenix phesed pheses phesing philosophes phonos phons phots physis pickage picket pickets
pictores piest pietic piked piking pilled pilling pimped pimping pinchas pinguin pinless pinnies
pinter pints pipers pipped pipping pises pished pishes pishing pissed pisses pissing pitched
pitches pitching pitted pitting pizes pizzle pizzles place placid placus plagae plage plages plainy
planed planing plans plant plantad platas plated plater platers platic plating plats platted
platter platting platus pleaed pleaing pleny ployed ploying plurel pluses plutter plyer plyers
plying pocked pocking podded podding poinds pointes pointings poirer poisson polash policemen
polices polled pollicies pollicy polling ponded ponding ponds pones ponts poofs pooly popeline
poplar populaton pored porer porers poring porion porions porked porking porson portes portly
portor posed poser posers poshed poshes poshing positon positons possed posses possing postel
postil potability potable potage potched potches potching poted potent poter poting potion potions
potos potted potter pottern potting potto pourer power powred powres powring practics prance prase
prases praties pratty pravilege preace preaced preaces preacing precation precednce preceeding
precent precents preception preces precess precessed precesses precessing precide precisian
preclaim precode precoded precodes precoding predicable prefect prefectly prefered preferrable
prefile prefiles preform preformed preforming preforms prehaps premie premies premised premising
premiss premisses premit premotion prent prented prenter prenting prents preportion preportions
prepose preposed preposes preposing preposition preses preset presets prespective prest prests
pretest preved prevened prevening preves previde preving prevision previsional previsions preyed
preyer preyers preying prezes price pried pries primas primos prims primus principe principes prine
prion prise priss prissed prisses prissing proach procedes processer processers processus procious
proface profer profs programable programed programer programers programing programmar programmng
projet projets proling prolog prologed prologing prologs promisees promiss promoed promoing
prononce proos propertius propoganda propper propr proprietory proscribe proscribed proscribes
proscribing proscription prosect prosected prosecting prosection prosects proses prosses protean
protend protended protending protends protist provent provos prunted prunts pryer pryers prying
psuedo pubic pucked pucking pugged pugging puled pules puling pulish pulsus punced punces puncing
punctation pupped pupping purdon pured purey puring purse pursed purses pursing purty puses pusles
pusses pustulate puting puzzels quacker quarer quartes quaters queans queing queres questionniare
queston quickset quicky quietist quited quitely quites quiting quotid quotition quotitions rabbet
rabbets rabbis rabbish raches rackless radding radial radially radicel radom raged rages raging
rally ramark randem rander randers randing raport rapped rapping rased rases rashed rashes rashing
rasing rason rated rater ratling ratoos ratos ratted ratten ratting ravers readding reagin reals
realty reame reamed reames reaming reams rearanged rearanging reate reates recal recals recant
recaption recept reckan recoded recoding recommand recon recons rection rections rector redaction
redactions redden redding redefied redefies reding redition redue reeched reeches reeching reeder
reeders reedily reeding reedings reedy reefers reeject reejected reejecting reejects reenge reested
reesting reests refect refected refecting refection refects refered refete refind reflet reflets
reflux regan regars regelation regelations reget regian regin reginal regird regraded regrading
regreet regreets regretably reider reign reigned reigning reigns reilly reine reined reining reises
reist reister relace relaced relaces relacing releasees relection reles releve relevent releves
relievos relive relived relives reliving relly remainer remaking reman remand remanded remanding
remands remans remate remend remended remending remends renae renes renning rented renting reorder
repace repart repetoire rephase repled repot repots repped repping reptation requere requered
requeres requering resalt researches resect resectable resected resecting resects reses reset
reshes resids resin resined resing resining resins resistence resit resits resitting resole resoled
resoles resoling responsable responsiblities responsiblity ressort restain restated restating
restes restring rests restung resue resuing retal retan retare retation rether retial retie retied
reties retin retirees retore retorn retrain retrained retraining retrains retried retries retuned
retuning reuse reused reuses reusing reval reveil revel reveled reveling revels revere revered
reveres revering revers reversis reversos revet revie revied revies revoted revoting reword rewords
rials ribber ricer richet ricing ricket riden righty riling rilled rilling rinding rinning riped
riping rises rivas rivels rives riving roached roaches roaching roadable roader roaders roading
roadings roate roated roates roating robber rocher rockat rockless rodden rodding roding roined
roining romain romains romane romanic ronning rooted rooting roots rosets rosetting rosing rosted
rosting roted rotes rother roting rottan rotte rotted rottes rotting rottle roughy roust routs
rovers roving rubbit rudding ruers ruing rules rumor runds runed runted ruses rushees rusted
rusting rutate ruther ruttle sable sacken sacket sacks sacrad sacrified sacrifies sacring sades
safegaurds sages sagger saggered saggering saggers saied saire sairs sakes salay sales salesmen
sallier sallow sallowed sallowing sallows salved salver salves salving sammer sampler samps sandal
sander sanding sandpoint sandry sands sanger sangers santy saple sapling sapped sapping sared
saring sarred sarring sarts sarver sashed sashes sashing sated sates satie sating sation sattle
saught savation saves savins sayed scald scalet scalled scare scarid scarps scarred scarres
scarring scars scarus scatch scatches scedule sceduled scedules sceduling scenaries scenary scenas
scewing schedular schemas scheol scoles scones scootch scoptical scorce scraes scram scrams scraped
scraping scrath scraws screed screes scrips scrit scritch scritched scritches scritching scrows
scunner scutch scutter scuttered scuttering scutters seals seamed seaming searced searces searcing
searing sears seasan seating seats secor secre secretaires secretory secund secundly seder seech
seeding seeds seeingly seeled seeling seeping seeps seers seiled seiling seling sells selly selter
selves sematic sement semple sempler semples semplest sends senor sensable sensile sensus sentients
separte septical seqence serail seral sered serer seres sering seron serous serousness serries
serting servos servus setling setted sever severs sevres sewars shacked shacking shacks shads
shafted shafting shafts shakos shaks shaps sharas shard sharos sharpy shawed shawing shere shets
shetting shewed shewer shewers shewing shied shies shills shinned shinnes shinning shins shires
shirts shited shiting shits shitting shoats shoed shoer shoers shooing shool shools shoos shored
shorer shores shoring shorty shots shotting showd shred shucked shucking shucks shuping shuted
shuting shuts sices sicked sicket sicking sicks sicular sides sient sifted sifting sifts sighed
sighing sighs sight sighter sightly signer signers signficance signficant signficantly signifiant
siking siled silene siler siles siling siller sills similary similate similor simling simmer simper
simpled simples simpling simplist simular sinal sinder sinding sindry sined sines singe singed
singes sining siple sipped sipping sirname sirred sirring sitch sited siting sittings siver sixtes
sizzing skeletin skells skelton skepped skepping skulled skulls slades slaes slapped slapping
slappy slavs slent slewed slewer slewing slighty sliped sliping slippy slits slitting sliver slives
sliwer sloan slopped sloppery slopping slopy smalls smally smeller smils smokos smoothy smushed
smushes smushing snaked snaking snaky sociol socked socking socks socred sodden soddened soddening
soddenly soddens soiled soiling soils soken sokes solary solation solations solder solders soled
solen solent soles soliciter solider soling solley solly solvang solvation solver solvus sommer
sonder sonds sones songer songle sonses sooth soothly sooting soots sopped sopping soppy soquel
sorage sorce sored sorely sores soring sorter sortly sorts sotted sotting sottings souce souces
souts sowed sower sowers sowing spacial spaciality spacially spaed spaers spaes spails spaing
spalled spalling spallings spalls spang sparres spars sparts sparus spatted spatting speccies
specialest speiled speiling speils speks spere spetting spial spiced spices spicing spiculate
spiculation spiled spiling spilled spilling spillings spills spilt spires spirital spirituel spirol
spirt spirts spited spiting spits splats splatting spokan spokesmen spooled spooling spools sporal
spores spots sprad sprag sprangs spred spreds spreed spreng sprenging sprig sprigs sprit sprits
sprong sprug spung spurius spurts squashs squire squired squires squiring squish squished squishes
squishing squush squushed squushes squushing stace stacking staffed staffing staffs stager stagers
stags stain stains stale staling stane stanes staning stans stapped stapping staps stare starer
starers starling stars startor stater staters statin statins stationery statis stats stave staved
staves staving stdio steam steams steared stearing stears steedy steeling steels steerling steils
stelas stellite stellites stending stends stenned stenning steres stero sterve sterved sterves
sterving stetch stiffed stiffing stiffs sting stings stire stired stires stiring stirling stirps
stirs stites stive stoach stocking stocky stoke stollen stoln stolon stomped stomping stomps stonds
stong stonned stonnes stonning stoorey stoped stoping storay storge storting story storys stoting
strack stract straes strage straggle straggled straggles straggling straightfoward strake strakes
stram strang strapped strapping straps strass strasses straught strave streck streight streit
streke streng strenth streps stret strey strick stricture strictured strictures strig striggle
stright strigs stringer striped striping strit stroam stroams strokes stroking strooke stropped
stropping strops strove struct strung struve stuck stucking stucks studdies studios stumped
stumping stumps stuped sturted sturting sturts styed styes stying stylos stylus subet subsidies
subst substanially succesful succesive succuss succussion succussive sucked sucken suckens sucket
suckets sucking sucrets suction suctions suddens suffr sumer summar summerise summerize summery
sumple sunder sunned sunning sunrose supervisees suppled suppler supples suppling suppresion
supressed suprising surly suspens suttle suttled suttles suttling swaps swatch swatches swats
sweeing swees sweeting sweets swith swopped swopping synactic syntactially syntectic syntheses
tabacco tabes tablas taces taches tacket tackets tacks tades taggle tailed tailer tailers tailet
tailing tails tains taked takes talant talants taled tales tallent tallents taming tamper tangue
tanked tankful tanking tanks tapped tapping tared targes taring tarrify tates tavel tawers teaed
teaing teated teats teaty tecnology teended teending teered teering teicher temed temes tempe
temped temping temps tendences tends tennes tennos tenson tenty terned terning terrar testes
teucher thames thans thaught theat thees theis theiss themas themis theorum thereon thess thiers
thigs thinkful thins thirt thoght thongs thrast thrawing thrawn thraws thrist thristing thrists
throughfare throughfares throughly thunked thunking thunks thurst thuses ticked ticking tickle
tickled tickles tickling ticks ticky tictic tiddies tided tides tiding tigger tiles tilling
timeable tinded tinder tinding tingent tings tining tinking tinks tiple tirring tittles tocked
tocking todies togue toiles tokers tokes toking tolley tolling toning topis torminal torrified
torrifies torrify torrifying tortue tough tought touser tousers trabes trads trampet trangle
trangles tranks trans transection transections transforation transits transitted transitting
translater traped traping trats traves tread treas treat trecked trecking trecks trefle trests
trets trialed trialing trias triced trices tricing tricked tricking tries triffic trilley trined
tringle tringles trining trins triols triops trios tripe tripes tripped tripping tripple trips
troat troated troating troats trocked trocking trocks trodes trogger trolly troths trough troule
troules trouses trowing trows truced truces trucing trucked trucking trumph truss trust trusteed
tucked tucket tuckets tucking tucks tunded tunder tunding tuned tunning turing turnable turntale
twits twoers tying typeseting tyring umbella unaverse unbale unbased unbiassed uncurtain undefied
undergos underling underly undies undine uneffected unelated unfar unform unfunded unhanged unible
unitas units unlead unlicked unlie unluck unneccessary unpredicable unred unsere unsore unsued
untied unties untiing unvailable unvoidable unwaned unware unwonted upsitting upstirs urent usure
vacances vaish vales vally vantage vares varias varify varing varios varuses vasty vaules vender
vened ventage ventre venus verdit versin versins versos verticil vertue vertues verus vices victor
victors villae vinage violan violet violon virify viroses virtus visied visile visiter visiters
vison vitim vocation vocations voces volage volation volent volently volin volley volves vories
vortical vortically votes vries wacked wadded wadding wader waders waers waked waled wales waling
walled walling walth wamed waned waner waning wanings wanner wanning wantad wanter wapped wapper
wappers wapping warded warding wared waring warked warking warship wasel wases washos wastern wasts
watchung wather watters weakly wecks weddeed weels weiring welked welking welled welling wended
wending wering wested westing wetched wether wetness wetnesses whally whatsoeer wheals whees
wheneer whereer whereis wheres whiles whilly whist whither whits wholes whops whuther widow
widowing widows wiffle wight wiking wiled wiling willet willy winder winders wined winer winers
wining wised wises wising wisted wisting witched witches witching wited wites witess withdaw withen
witing witten witting wiving woden woking wolds wolly wondred wonner wonners wonning wonted wonting
woops words workship worksop wormed worming wotting wracked wracker wracking wracks wrangs wrethed
wricked wricking wricks wrier wries wring wrings writs writter wrothy wudded wudding wulled wulling
wunder wunner wunners yallow yarly
"""
