"""Budget store in Redis: amounts spent and reserved, shared by all servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.budgets import scripts
from cacheserver.budgets.rules import Balance, full
from cacheserver.cache.budget_verdict import Account, Amount, Full
from cacheserver.core.rules.budgets import ACTIONS
from cacheserver.core.times import WORK_MS
from cacheserver.storage.connection import PREFIX, Connection, run_script
from cacheserver.storage.json_values import tenant_key

# A call takes 600 s at most by default, and may be made twice.
LEASE_S = 1_800
HOLD_S = WORK_MS // 1_000  # a batch item holds its reservation as long as it exists
_SETTLED_S = 600  # a settlement whose reply was lost is repeated within seconds
_LIFE_S = {"day": 3 * 86_400, "month": 62 * 86_400}  # the last one can still be looked at


@dataclass(frozen=True, slots=True)
class Held:
    """Result of a reservation. `balances` are from before it, in the accounts' order."""

    reserved: bool
    cheapest: bool  # for the cheapest tier
    freed: int  # leases of servers that were killed
    balances: tuple[Balance, ...]

    def full(self, accounts: Sequence[Account]) -> list[Full]:
        """Return the accounts that were at their limit."""
        pairs = zip(accounts, self.balances, strict=True)
        return [found for one, stood in pairs if (found := full(one, stood)) is not None]


class BudgetStore:
    """Store of reservations and balances. Every method raises `StoreError`. `now`: Unix seconds."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, lease_s: float = LEASE_S
    ) -> None:
        self._prefix = prefix
        self._lease_s = lease_s
        self._reserve = redis.register_script(scripts.RESERVE)
        self._settle = redis.register_script(scripts.SETTLE)
        self._read = redis.register_script(scripts.READ)

    async def reserve(
        self,
        tenant: str,
        id: str,
        accounts: Sequence[Account],
        *,
        amount: Amount,
        cheapest: Amount,
        now: float,
        lease_s: float | None = None,
        token: str = "",
    ) -> Held:
        """Reserve `amount` in all `accounts`, unless one that refuses at its limit is full.

        If a full account allows the cheapest tier, `cheapest` is reserved instead. The reservation
        ends after `lease_s`, by default the store's. An `id` that has a reservation keeps it.
        `token` is the fencing token of the job worker: once it is not valid, nothing is reserved
        (`StoreError`, code FENCED).
        """
        words: list[str | int | float] = [self._prefix, tenant_key(tenant), repr(now), id]
        words += [
            lease_s or self._lease_s,
            amount.nano,
            amount.tokens,
            cheapest.nano,
            cheapest.tokens,
        ]
        words.append(token)
        for account in accounts:
            words += [_name(account), _LIFE_S[account.period.span], *_limits(account)]
            words.append(ACTIONS[account.at_limit].reservation)
        reserved, freed, *numbers = await run_script(self._reserve, *words)
        return Held(reserved > 0, reserved == 2, freed, _balances(numbers))

    async def settle(
        self, tenant: str, id: str, accounts: Sequence[Account], spent: Amount, now: float
    ) -> bool:
        """Replace a reservation by what was spent. False: it was settled before."""
        words: list[str | int | float] = [self._prefix, tenant_key(tenant), repr(now), id]
        words += [spent.nano, spent.tokens, _SETTLED_S, *account_arguments(accounts)]
        return bool(await run_script(self._settle, *words))

    async def balances(
        self, tenant: str, accounts: Sequence[Account], now: float
    ) -> tuple[Balance, ...]:
        """Return the balances of a tenant's accounts, in their order."""
        names = [_name(account) for account in accounts]
        return _balances(
            await run_script(self._read, self._prefix, tenant_key(tenant), repr(now), *names)
        )


def account_arguments(accounts: Sequence[Account]) -> list[str | int]:
    """Return the arguments of the scripts for accounts: name and TTL (s) of each."""
    return [word for one in accounts for word in (_name(one), _LIFE_S[one.period.span])]


def _name(account: Account) -> str:
    return f"{tenant_key(account.tenant)}:{account.key_id or ''}:{account.period.id}"


def _limits(account: Account) -> tuple[str | int, str | int]:
    nano, tokens = account.nano, account.tokens
    return ("" if nano is None else nano, "" if tokens is None else tokens)


def _balances(numbers: Sequence[int]) -> tuple[Balance, ...]:
    return tuple(
        Balance(Amount(*numbers[at : at + 2]), Amount(*numbers[at + 2 : at + 4]))
        for at in range(0, len(numbers), 4)
    )
