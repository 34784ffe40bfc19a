"""Tests of the door of beanstalkd's protocol."""
