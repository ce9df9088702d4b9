# The simulated Telegram of the demonstration. `make stage` builds it first.
FROM scratch
COPY bin/image/faketelegram /usr/local/bin/faketelegram
ENV PATH=/usr/local/bin
USER 10003:10003
EXPOSE 8081
ENTRYPOINT ["faketelegram", "--addr", "0.0.0.0:8081"]
