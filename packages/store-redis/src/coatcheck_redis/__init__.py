"""coatcheck's sessions in Redis or Valkey: ``store="redis://localhost:6379/0"``."""

from .store import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "RedisStore"]
