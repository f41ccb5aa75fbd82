FROM python:3.11-slim
WORKDIR /plumbline
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY flows flows
COPY plumbline plumbline
COPY tasks tasks
RUN pip install --no-cache-dir --compile --constraint constraints.txt --editable . \
    && useradd --create-home --uid 10001 plumbline
USER plumbline
ENV PLUMBLINE_WORKSPACE=/workspace
VOLUME /workspace
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["plumbline", "serve", "--host", "0.0.0.0", "--port", "8000"]
