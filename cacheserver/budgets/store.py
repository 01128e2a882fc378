"""What was spent of each budget, and what is reserved: in Redis, one sum for all servers."""

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

# The longest a call takes is 600 s by default, and one that was answered badly is made once more.
LEASE_S = 1_800
HOLD_S = WORK_MS // 1_000  # an ask in a batch holds what it may cost as long as it is there
_SETTLED_S = 600  # a settlement whose reply was lost is sent again within seconds
_KEPT_S = {"day": 3 * 86_400, "month": 62 * 86_400}  # the last one can still be looked at


@dataclass(frozen=True, slots=True)
class Held:
    """What became of a reservation. `balances` are from before it, in the accounts' order."""

    made: bool
    cheapest: bool  # it is the cheapest tier's
    freed: int  # leases of servers that never came back
    balances: tuple[Balance, ...]

    def full(self, accounts: Sequence[Account]) -> list[Full]:
        """Which of the accounts were at their end."""
        pairs = zip(accounts, self.balances, strict=True)
        return [found for one, stood in pairs if (found := full(one, stood)) is not None]


class BudgetStore:
    """Reserves, settles and reads. Every method raises `StoreError`. `now` is Unix seconds."""

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
        """Put `amount` aside in all `accounts`, unless one is full that must not be overrun.

        Where one is full that has the cheapest tier asked, it is `cheapest` that is put aside.
        It is free again after `lease_s`, that of the store by default. Where `id` holds something
        already, that stays as it is. `token` is the jobs' worker's: once it is no more, nothing is
        put aside (`StoreError`, code FENCED).
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
            words += [_name(account), _KEPT_S[account.period.span], *_limits(account)]
            words.append(ACTIONS[account.at_limit].reservation)
        made, freed, *numbers = await run_script(self._reserve, *words)
        return Held(made > 0, made == 2, freed, _balances(numbers))

    async def settle(
        self, tenant: str, id: str, accounts: Sequence[Account], spent: Amount, now: float
    ) -> bool:
        """Put what was spent in the place of what was reserved. False: it was settled before."""
        words: list[str | int | float] = [self._prefix, tenant_key(tenant), repr(now), id]
        words += [spent.nano, spent.tokens, _SETTLED_S, *account_arguments(accounts)]
        return bool(await run_script(self._settle, *words))

    async def balances(
        self, tenant: str, accounts: Sequence[Account], now: float
    ) -> tuple[Balance, ...]:
        """What the accounts of a tenant stand at, in their order."""
        names = [_name(account) for account in accounts]
        return _balances(
            await run_script(self._read, self._prefix, tenant_key(tenant), repr(now), *names)
        )


def account_arguments(accounts: Sequence[Account]) -> list[str | int]:
    """Accounts as the scripts take them: the name and the life (s) of each."""
    return [word for one in accounts for word in (_name(one), _KEPT_S[one.period.span])]


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
