#!/bin/sh
lookup s | wc -l > answer.txt
