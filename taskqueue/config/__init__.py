"""
The configuration: defaults, file, environment and command line, as one L{Config}.

C{docs/configuration.md} describes every key.
"""

from taskqueue.config.reading import load
from taskqueue.config.sections import (
    AccessConfig,
    BeanstalkdConfig,
    BrokerConfig,
    Config,
    FaktoryConfig,
    HttpConfig,
    LimitsConfig,
    ListenConfig,
    LogConfig,
    QueueConfig,
    RetentionConfig,
    StoreConfig,
    WorkersConfig,
)
from taskqueue.config.writing import Difference, applicable, as_text, differences

__all__ = [
    "AccessConfig",
    "BeanstalkdConfig",
    "BrokerConfig",
    "Config",
    "Difference",
    "FaktoryConfig",
    "HttpConfig",
    "LimitsConfig",
    "ListenConfig",
    "LogConfig",
    "QueueConfig",
    "RetentionConfig",
    "StoreConfig",
    "WorkersConfig",
    "applicable",
    "as_text",
    "differences",
    "load",
]
