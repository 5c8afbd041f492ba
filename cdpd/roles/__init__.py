"""`[process] roles`: the daemon as several processes over one log, and the one that starts and watches them."""
