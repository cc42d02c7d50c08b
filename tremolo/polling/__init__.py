"""Polling: which file descriptors are ready; epoll, kqueue and select. See README.md."""
