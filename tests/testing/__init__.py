"""Tests of what applications test their tasks with."""
