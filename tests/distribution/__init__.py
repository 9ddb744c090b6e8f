"""What a release consists of; `make dist` builds it first. Not a part of `make test`."""
